//! A real directory: slapd, with users and groups of its own.

use crate::process::system_program;
use crate::{Certificate, DEADLINE, Process, TempDir, eventually, run};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

#[derive(Debug)]
pub struct Directory {
    plain: SocketAddr,
    tls: SocketAddr,
    process: Option<Process>,
    dir: TempDir,
}

/// Where the packages put what slapd needs.
const SCHEMAS: &str = "/etc/ldap/schema";
const MODULES: &str = "/usr/lib/ldap";

impl Directory {
    /// Holds these entries (LDIF) under `dc=example,dc=test`. Who may see all of it is `cn=admin,dc=example,dc=test`,
    /// with the password `sought-and-found`.
    pub fn start(entries: &str, certificate: &Certificate) -> Directory {
        for _ in 0..5 {
            // Both are held for a moment, so that they differ.
            let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let [plain, tls] = held.map(|listener| listener.local_addr().unwrap());
            let mut directory = Directory { plain, tls, process: None, dir: TempDir::new() };
            directory.fill(entries, certificate);
            if directory.run() {
                return directory;
            }
        }
        panic!("slapd found no free port in five attempts")
    }

    pub fn port(&self) -> u16 {
        self.plain.port()
    }

    /// Where it speaks TLS from the first byte on.
    pub fn tls_port(&self) -> u16 {
        self.tls.port()
    }

    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn start_again(&mut self) {
        assert!(self.run(), "slapd did not come back to its ports");
    }

    /// How often it was asked to take a password.
    pub fn binds(&self) -> usize {
        let said = self.process.as_ref().map(Process::stderr).unwrap_or_default();
        said.lines().filter(|line| line.contains(" BIND dn=") && line.contains("method=")).count()
    }

    fn fill(&self, entries: &str, certificate: &Certificate) {
        let database = self.dir.join("db");
        std::fs::create_dir(&database).unwrap();
        let includes: Vec<String> =
            ["core", "cosine", "inetorgperson", "nis"].map(|name| format!("include {SCHEMAS}/{name}.schema\n")).into();
        let config = format!(
            "{}modulepath {MODULES}\nmoduleload back_mdb\nmoduleload memberof\npidfile {pid}\n\
             TLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\n\
             database mdb\nsuffix dc=example,dc=test\nrootdn cn=admin,dc=example,dc=test\nrootpw sought-and-found\n\
             directory {database}\noverlay memberof\n\
             access to attrs=userPassword by anonymous auth\naccess to * by self read by anonymous auth\n",
            includes.concat(),
            pid = self.dir.join("pid").display(),
            cert = certificate.cert.display(),
            key = certificate.key.display(),
            database = database.display(),
        );
        self.dir.write("slapd.conf", config);
        let top =
            "dn: dc=example,dc=test\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n";
        let ldif = self.dir.write("entries.ldif", format!("{top}{entries}"));
        let mut command = Command::new(system_program("slapadd"));
        command.arg("-f").arg(self.dir.join("slapd.conf")).arg("-l").arg(ldif);
        run(&mut command).expect_code(0);
    }

    fn run(&mut self) -> bool {
        let urls = format!("ldap://{} ldaps://{}", self.plain, self.tls);
        let mut command = Command::new(system_program("slapd"));
        command.arg("-f").arg(self.dir.join("slapd.conf")).args(["-h", &urls, "-d", "stats"]);
        let process = Process::spawn(&mut command);
        let up = eventually(DEADLINE, || match process.exited() {
            Some(_) => Ok(false),
            None if process.stderr().contains("slapd starting") => Ok(true),
            None => Err(process.output()),
        });
        assert!(up || process.stderr().contains("bind("), "slapd ended\n{}", process.output());
        self.process = up.then_some(process);
        up
    }
}
