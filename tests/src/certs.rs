//! Certificates by the openssl program: what the gate meets in the field was not made by its own
//! TLS library.

use crate::{TempDir, base64url, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A certificate authority of one test, with all that it issues in one directory.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    own: Certificate,
    issued: AtomicUsize,
}

#[derive(Debug, Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let dir = TempDir::new();
        // A configuration of our own: the system's openssl.cnf differs between systems.
        let config = dir.write(
            "authority.cnf",
            format!(
                "[req]\ndistinguished_name = name\nx509_extensions = authority\nprompt = no\n[name]\nCN = {name}\n\
                 [authority]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n\
                 subjectKeyIdentifier = hash\n"
            ),
        );
        let own = Certificate { cert: dir.join("authority.pem"), key: dir.join("authority.key") };
        openssl(request(&config, &own.key).args(["-x509", "-days", "30", "-out"]).arg(&own.cert));
        Authority { dir, own, issued: AtomicUsize::new(0) }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.own
    }

    /// For a server: `names` are DNS names or IP addresses.
    pub fn server(&self, names: &[&str]) -> Certificate {
        let alternatives: Vec<String> =
            names
                .iter()
                .map(|name| {
                    if name.parse::<std::net::IpAddr>().is_ok() { format!("IP:{name}") } else { format!("DNS:{name}") }
                })
                .collect();
        self.issue(names[0], &format!("extendedKeyUsage = serverAuth\nsubjectAltName = {}", alternatives.join(",")))
    }

    pub fn client(&self, name: &str) -> Certificate {
        self.issue(name, "extendedKeyUsage = clientAuth")
    }

    fn issue(&self, name: &str, extensions: &str) -> Certificate {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let file = |suffix: &str| self.dir.join(&format!("{number}.{suffix}"));
        let config = self.dir.write(
            &format!("{number}.cnf"),
            format!(
                "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = {name}\n\
                 [issued]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n{extensions}\n"
            ),
        );
        let certificate = Certificate { cert: file("pem"), key: file("key") };
        openssl(request(&config, &certificate.key).arg("-out").arg(file("csr")));
        openssl(
            Command::new("openssl")
                .args(["x509", "-req", "-sha256", "-days", "30", "-set_serial", &(number + 2).to_string()])
                .args(["-extensions", "issued", "-extfile"])
                .arg(&config)
                .arg("-in")
                .arg(file("csr"))
                .arg("-CA")
                .arg(&self.own.cert)
                .arg("-CAkey")
                .arg(&self.own.key)
                .arg("-out")
                .arg(&certificate.cert),
        );
        certificate
    }
}

impl Certificate {
    /// The certificate as a YAML scalar: a JSON string, line ends escaped.
    /// Its SHA-256, as a token that is bound to it holds it (RFC 8705 section 3.1).
    pub fn digest(&self) -> String {
        let script = "openssl x509 -outform DER -in \"$0\" | openssl dgst -sha256 -binary";
        base64url(&run(Command::new("sh").args(["-c", script]).arg(&self.cert)).expect_code(0).stdout)
    }

    pub fn cert_yaml(&self) -> String {
        yaml_scalar(&self.cert)
    }

    pub fn key_yaml(&self) -> String {
        yaml_scalar(&self.key)
    }
}

fn yaml_scalar(path: &Path) -> String {
    serde_json::to_string(&fs::read_to_string(path).unwrap()).unwrap()
}

fn request(config: &Path, key: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-sha256", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.arg("-config").arg(config).arg("-keyout").arg(key);
    command
}

#[track_caller]
fn openssl(command: &mut Command) {
    run(command).expect_code(0);
}
