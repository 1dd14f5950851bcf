//! Another real identity provider, with habits of its own: glewlwyd, in C.

use crate::process::system_program;
use crate::{Answer, DEADLINE, Process, TempDir, base64, eventually, http, python, run};
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

/// It has one client, `svc`, which may ask for the scope `orders`.
pub struct Glewlwyd {
    address: SocketAddr,
    // Ends before the directory it works in goes.
    _process: Process,
    _dir: TempDir,
}

/// Where Debian's package puts the tables.
const TABLES: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";

const CLIENT: (&str, &str) = ("svc", "the secret of svc");

impl Glewlwyd {
    #[track_caller]
    pub fn start() -> Glewlwyd {
        // It cannot tell which port it got. When another process was faster, the next one is tried.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let dir = TempDir::new();
            let config = dir.write("glewlwyd.conf", config(dir.path(), address));
            let tables = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";
            run(Command::new(python()).args(["-c", tables]).arg(dir.join("db")).arg(TABLES)).expect_code(0);
            let process = Process::spawn(Command::new(system_program("glewlwyd")).arg("-c").arg(config));
            let up = eventually(DEADLINE, || match process.exited() {
                Some(_) => Ok(false),
                None if process.output().contains("Glewlwyd started") => Ok(true),
                None => Err(process.output()),
            });
            if up {
                let glewlwyd = Glewlwyd { address, _process: process, _dir: dir };
                glewlwyd.furnish();
                return glewlwyd;
            }
            assert!(process.output().contains("port"), "glewlwyd ended\n{}", process.output());
        }
        panic!("glewlwyd found no free port in five attempts")
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/api/oidc", self.address)
    }

    /// `Basic` of its client.
    pub fn basic(&self) -> String {
        format!("Basic {}", base64(format!("{}:{}", CLIENT.0, CLIENT.1).as_bytes()))
    }

    /// An access token, by client credentials.
    #[track_caller]
    pub fn token(&self) -> String {
        let answer = self.form("token", "grant_type=client_credentials&scope=orders").expect_status(200).json();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Ends a token (RFC 7009).
    #[track_caller]
    pub fn revoke(&self, token: &str) {
        self.form("revoke", &format!("token={token}")).expect_status(200);
    }

    fn form(&self, path: &str, form: &str) -> Answer {
        let basic = self.basic();
        let fields = [("Authorization", basic.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        http(self.address, "POST", &format!("/api/oidc/{path}"), &fields, form.as_bytes())
    }

    /// Makes the authority, its scope and its client, as its pages for operators do.
    fn furnish(&self) {
        let openssl = |args: &[&str], dir: &TempDir| run(Command::new("openssl").current_dir(dir.path()).args(args));
        let dir = TempDir::new();
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key"], &dir)
            .expect_code(0);
        openssl(&["pkey", "-in", "key", "-pubout", "-out", "public"], &dir).expect_code(0);
        let pem = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        let login = json!({ "username": "admin", "password": "password" });
        let login = self.post("/api/auth/", "", &login);
        let cookie = login.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let authority = json!({
            "module": "oidc", "name": "oidc", "display_name": "oidc", "order_rank": 0, "readonly": false,
            "parameters": {
                "iss": self.issuer(), "key": pem("key"), "cert": pem("public"),
                "jwt-type": "ecdsa", "jwt-key-size": "256", "jwks-show": true, "allow-non-oidc": true,
                "access-token-duration": 300, "refresh-token-duration": 1_209_600, "code-duration": 60,
                "refresh-token-rolling": true, "refresh-token-one-use": "always",
                "auth-type-client-enabled": true, "auth-type-code-enabled": true, "auth-type-token-enabled": false,
                "auth-type-id-token-enabled": true, "auth-type-none-enabled": false,
                "auth-type-password-enabled": false, "auth-type-refresh-enabled": true,
                "auth-type-device-enabled": false, "scope": [], "additional-parameters": [], "claims": [],
                "introspection-revocation-allowed": true, "introspection-revocation-auth-scope": [],
                "introspection-revocation-allow-target-client": true, "pkce-allowed": true,
                "pkce-method-plain-allowed": false, "pkce-required": true, "register-client-allowed": false,
                "session-management-allowed": false,
            },
        });
        let scope = json!({ "name": "orders", "display_name": "orders", "description": "orders",
                            "password_required": false, "scheme": {} });
        let client = json!({
            "client_id": CLIENT.0, "name": CLIENT.0, "confidential": true, "password": CLIENT.1, "enabled": true,
            "scope": ["orders"], "authorization_type": ["client_credentials"],
            "token_endpoint_auth_method": ["client_secret_basic"], "redirect_uri": [],
        });
        for (path, what) in
            [("/api/mod/plugin/", authority), ("/api/scope/", scope), ("/api/client/?source=database", client)]
        {
            self.post(path, &cookie, &what);
        }
    }

    #[track_caller]
    fn post(&self, path: &str, cookie: &str, what: &Value) -> Answer {
        let fields = [("Cookie", cookie), ("Content-Type", "application/json")];
        http(self.address, "POST", path, &fields, what.to_string().as_bytes()).expect_status(200)
    }
}

/// As the package installs it, but for the place.
fn config(dir: &Path, address: SocketAddr) -> String {
    let modules: String = ["user", "client", "user_auth_scheme", "plugin"]
        .iter()
        .map(|kind| {
            format!(
                "{kind}_module_path=\"/usr/lib/glewlwyd/{}\"\n",
                if *kind == "user_auth_scheme" { "scheme" } else { kind }
            )
        })
        .collect();
    format!(
        "port={}\nbind_address=\"127.0.0.1\"\nexternal_url=\"http://{address}\"\nlogin_url=\"login.html\"\n\
         api_prefix=\"api\"\nlog_mode=\"console\"\nlog_level=\"INFO\"\ncookie_secure=0\nsession_expiration=2419200\n\
         session_key=\"GLEWLWYD2_SESSION_ID\"\nadmin_session_authentication=\"cookie\"\n\
         profile_session_authentication=\"cookie\"\nlogin_api_enabled=true\nadmin_scope=\"g_admin\"\n\
         profile_scope=\"g_profile\"\nhash_algorithm=\"SHA512\"\nuse_secure_connection=false\nsecure_connection_key_file=\"\"\nsecure_connection_pem_file=\"\"\nsecure_connection_ca_file=\"\"\n{modules}\
         database={{type=\"sqlite3\"; path=\"{}/db\";}};\n",
        address.port(),
        dir.display()
    )
}
