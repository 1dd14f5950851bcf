//! A real nginx as the service behind the gate.

use crate::process::system_program;
use crate::{Certificate, DEADLINE, Process, TempDir, eventually};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    // Ends before the directory it works in goes.
    process: Process,
    dir: TempDir,
}

impl Nginx {
    /// Plain HTTP; `server` stands in nginx's server block. Files of the block `root` come from
    /// [`Nginx::write`].
    pub fn http(server: &str) -> Nginx {
        Nginx::start("", server)
    }

    /// HTTPS; with `callers`, only clients with a certificate of that authority are served.
    pub fn https(certificate: &Certificate, callers: Option<&Path>, server: &str) -> Nginx {
        let mut tls = format!(
            "ssl_certificate {}; ssl_certificate_key {};\n",
            certificate.cert.display(),
            certificate.key.display()
        );
        if let Some(authority) = callers {
            tls.push_str(&format!("ssl_client_certificate {}; ssl_verify_client on;\n", authority.display()));
        }
        Nginx::start("ssl", &(tls + server))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        self.dir.write(&format!("files/{name}"), content);
    }

    pub fn output(&self) -> String {
        self.process.output()
    }

    fn start(listen: &str, server: &str) -> Nginx {
        // nginx cannot tell which port it got, so a free one is found for it; when another process
        // was faster, nginx ends and the next one is tried.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let dir = TempDir::new();
            std::fs::create_dir(dir.join("files")).unwrap();
            let config = dir.write("nginx.conf", config(dir.path(), address, listen, server));
            let process =
                Process::spawn(Command::new(system_program("nginx")).arg("-p").arg(dir.path()).arg("-c").arg(config));
            // Said only once the sockets are open; a connection could also reach a stranger.
            let up = eventually(DEADLINE, || match process.exited() {
                Some(_) => Ok(false),
                None if process.stderr().contains("event method") => Ok(true),
                None => Err(process.output()),
            });
            if up {
                return Nginx { address, process, dir };
            }
            assert!(process.stderr().contains("in use"), "nginx ended\n{}", process.output());
        }
        panic!("nginx found no free port in five attempts")
    }
}

/// One process and no master: ending our child ends all of nginx.
fn config(dir: &Path, address: SocketAddr, listen: &str, server: &str) -> String {
    let dir = dir.display();
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr notice;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
         access_log off; client_max_body_size 0; default_type application/octet-stream;\n\
         server {{ listen {address} {listen}; root {dir}/files;\n{server}\n}}\n}}\n"
    )
}
