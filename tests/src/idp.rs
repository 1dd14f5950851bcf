//! A real identity provider: oidc-provider, in Node.js.

use crate::{run, workspace};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

pub struct Idp {
    child: Child,
    says: Mutex<BufReader<ChildStdout>>,
    port: u16,
}

impl Idp {
    /// `TEST_IDP` is where ./test has installed it.
    #[track_caller]
    pub fn start() -> Idp {
        let installed = std::env::var_os("TEST_IDP").map_or_else(|| workspace().join("target/idp"), PathBuf::from);
        assert!(installed.join("node_modules").exists(), "{} is not there: ./test installs it", installed.display());
        let mut command = Command::new("node");
        command.arg(workspace().join("tests/idp/idp.mjs")).arg(installed);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("node: {error}; ./test installs it"));
        let says = Mutex::new(BufReader::new(child.stdout.take().unwrap()));
        let mut idp = Idp { child, says, port: 0 };
        idp.port = idp.line().parse().unwrap();
        idp
    }

    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An access token for a resource, by client credentials (RFC 6749 section 4.4, RFC 8707).
    #[track_caller]
    pub fn token(&self, resource: &str, scope: &str) -> String {
        let token = self.order(&format!("token {resource} {scope}"));
        assert!(token.split('.').count() == 3, "{token}");
        token
    }

    /// An access token that says nothing itself.
    #[track_caller]
    pub fn opaque(&self, scope: &str) -> String {
        let token = self.order(&format!("opaque {scope}"));
        assert!(!token.contains(['.', '{']), "{token}");
        token
    }

    /// Ends a token (RFC 7009).
    pub fn revoke(&self, token: &str) {
        assert_eq!(self.order(&format!("revoke {token}")), "200");
    }

    /// How often it was asked about a token.
    pub fn introspected(&self) -> usize {
        self.order("introspected").parse().unwrap()
    }

    /// Answers nobody any more, until [`Idp::resume`].
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.child.id().to_string()])).expect_code(0);
    }

    /// A new signing key in place of the old one.
    pub fn rotate(&self) {
        self.order("rotate");
    }

    /// How often its keys were fetched.
    pub fn asked(&self) -> usize {
        self.order("asked").parse().unwrap()
    }

    fn order(&self, words: &str) -> String {
        writeln!(self.child.stdin.as_ref().unwrap(), "{words}").unwrap();
        self.line()
    }

    fn line(&self) -> String {
        let mut line = String::new();
        self.says.lock().unwrap().read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
