//! A real DNS server: dnsmasq, with the records that a test gives it.

use crate::process::system_program;
use crate::{DEADLINE, Process, TempDir, eventually};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    process: Option<Process>,
    dir: TempDir,
}

/// Of names under `test` there are no others than its own; for others there would be somebody to ask.
const KNOWS_ALL: &str = "local=/test/";

impl NameServer {
    /// Knows these records and no others: lines of dnsmasq's configuration, such as
    /// `host-record=web.test,192.0.2.1,60` or `srv-host=_http._tcp.web.test,host.test,8080,0,10`.
    pub fn start(records: &[&str]) -> NameServer {
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut server = NameServer { address, process: None, dir: TempDir::new() };
            if server.run(KNOWS_ALL, records) {
                return server;
            }
        }
        panic!("dnsmasq found no free port in five attempts")
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The questions so far, one in a line.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Knows other records from now on.
    pub fn restart(&mut self, records: &[&str]) {
        self.process = None;
        assert!(self.run(KNOWS_ALL, records), "dnsmasq did not come back to its port");
    }

    /// Refuses every question from now on.
    pub fn refuse(&mut self) {
        self.process = None;
        assert!(self.run("", &[]), "dnsmasq did not come back to its port");
    }

    fn run(&mut self, knows: &str, records: &[&str]) -> bool {
        let own = format!(
            "port={}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nlocal-ttl=1\nneg-ttl=1\n\
             {knows}\nlog-queries\nlog-facility=-\nuser=\npid-file={}\n",
            self.address.port(),
            self.dir.join("pid").display()
        );
        let config = self.dir.write("dnsmasq.conf", own + &records.join("\n") + "\n");
        let process = Process::spawn(Command::new(system_program("dnsmasq")).arg("-k").arg("-C").arg(config));
        let up = eventually(DEADLINE, || match process.exited() {
            Some(_) => Ok(false),
            None if process.stderr().contains("started, version") => Ok(true),
            None => Err(process.output()),
        });
        assert!(up || process.stderr().contains("in use"), "dnsmasq ended\n{}", process.output());
        self.process = up.then_some(process);
        up
    }
}
