//! The settings of the gate: what they are, where they are read from, and which place wins.
//!
//! `table` is the one list of settings: reading, `--help` and `docs/settings.md` follow from it, so
//! that a new setting is one entry there.

pub mod access_log;
mod checks;
mod definition;
#[cfg(test)]
mod document;
pub mod enabled_plugins;
mod environment;
mod file;
pub mod headers;
pub mod manual;
mod nearest;
mod places;
mod problem;
pub mod secret;
mod table;
pub mod trust_store;
mod value;
pub mod words;
pub mod workers;

use crate::cli::StartFlags;
use std::path::PathBuf;

pub use environment::environment;
pub use problem::{SettingsErrors, Warning};
pub use table::Settings;

/// The file in the data directory that holds the token of the Admin API when `admin_token` is not set.
pub const ADMIN_TOKEN_FILE: &str = "admin_token";

/// The settings file that is read when no other one is named, from the working directory.
pub const DEFAULT_FILE: &str = "portcullis.toml";

/// The variable that names the settings file; the flag `--settings` wins over it.
pub const FILE_VARIABLE: &str = "PORTCULLIS_SETTINGS";

/// Where the settings file is, or would be.
pub fn file_path(flags: &StartFlags, variables: &[(String, String)]) -> PathBuf {
    file::locate(flags, variables).0
}

impl Settings {
    /// Reads every place a setting may stand in: flags, `PORTCULLIS_*`, `KONG_*`, the settings file,
    /// defaults; the first of these that names a setting decides it.
    ///
    /// `env` is usually [`environment()`]. Every mistake of every place is reported at once.
    pub fn load(
        flags: &StartFlags,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Vec<Warning>), SettingsErrors> {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        let chosen = places::choose(flags, env.collect(), &mut faults, &mut warnings);
        let settings = Self::read(&chosen, &mut faults);
        if let (Some(settings), true) = (settings, faults.is_empty()) {
            checks::contradictions(&settings, &chosen, &mut faults);
            if faults.is_empty() {
                checks::cautions(&settings, &chosen, &mut warnings);
                return Ok((settings, warnings));
            }
        }
        Err(SettingsErrors::new(faults))
    }
}

#[cfg(test)]
mod tests {
    use super::secret::Secret;
    use super::words::LogLevel;
    use super::*;
    use crate::cli::Assignment;

    /// Loads from a settings file, flags of the form `--set KEY=VALUE` and variables, all one a
    /// line; gives the settings' Debug text and the warnings, or the errors.
    fn load(file: &str, flags: &str, variables: &str) -> Result<(Settings, String), String> {
        let directory = std::env::temp_dir().join(format!(
            "portcullis-settings-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&directory).expect("a directory to test in");
        let path = directory.join("portcullis.toml");
        std::fs::write(&path, file).expect("a settings file to test with");
        let flags = StartFlags {
            settings: Some(path),
            set: flags.lines().map(|line| Assignment::parse(line).expect("KEY=VALUE")).collect(),
            ..StartFlags::default()
        };
        let variables: Vec<_> = variables
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let loaded = Settings::load(&flags, variables.into_iter());
        std::fs::remove_dir_all(&directory).expect("the test's own directory");
        let clean = |text: String| text.replace(&format!("{}/", directory.display()), "");
        match loaded {
            Ok((settings, warnings)) => {
                let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
                Ok((settings, clean(warnings.join("\n"))))
            }
            Err(errors) => Err(clean(errors.to_string())),
        }
    }

    fn check_level(file: &str, flags: &str, variables: &str, expected: LogLevel) {
        let (settings, _) = load(file, flags, variables).expect("settings that are right");
        assert_eq!(settings.log_level, expected, "{file} | {flags} | {variables}");
    }

    #[test]
    fn the_strongest_place_decides() {
        let file = "log_level = \"error\"";
        let kong = "KONG_LOG_LEVEL=warn";
        let both = "KONG_LOG_LEVEL=warn\nPORTCULLIS_LOG_LEVEL=info";
        check_level("", "", "", LogLevel::Notice);
        check_level(file, "", "", LogLevel::Error);
        check_level(file, "", kong, LogLevel::Warn);
        check_level(file, "", both, LogLevel::Info);
        check_level(file, "log_level=debug", both, LogLevel::Debug);
    }

    fn check_wrong(file: &str, flags: &str, variables: &str, expected: &[&str]) {
        let errors = match load(file, flags, variables) {
            Ok((settings, _)) => format!("accepted: {settings:?}"),
            Err(errors) => errors,
        };
        for part in expected {
            assert!(errors.contains(part), "no {part:?} in: {errors}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_place_at_once() {
        check_wrong(
            "# a file\nlog_levle = \"info\"\nworkers = \"many\"\n",
            "heders=off",
            "PORTCULLIS_STOP_TIMEOUT_S=soon\nPORTCULLIS_PROXY_LISTN=127.0.0.1:1",
            &[
                "portcullis.toml:2 log_levle: there is no such setting; did you mean log_level?",
                "portcullis.toml:3 workers: \"many\"",
                "--set heders: there is no such setting; did you mean headers?",
                "PORTCULLIS_STOP_TIMEOUT_S: \"soon\"",
                "PORTCULLIS_PROXY_LISTN: there is no such setting; did you mean PORTCULLIS_PROXY_LISTEN?",
            ],
        );
    }

    #[test]
    fn wrong_values() {
        check_wrong("admin_listen = \"0.0.0.0:8001\"", "", "", &["portcullis.toml:1 admin_listen", "admin_plaintext"]);
        check_wrong("database = \"cassandra\"", "", "", &["portcullis.toml:1 database", "off, sqlite, postgres"]);
        check_wrong("", "", "KONG_ROUTER_FLAVOR=expressions", &["KONG_ROUTER_FLAVOR", "traditional_compatible"]);
        check_wrong("ssl_cert = \"a.pem\"", "", "", &["portcullis.toml:1 ssl_cert", "ssl_cert_key"]);
        check_wrong("", "proxy_listen=off\nadmin_listen=off", "", &["--set proxy_listen", "nothing to listen on"]);
        check_wrong(
            "declarative_config = \"kong.yml\"",
            "",
            "KONG_DECLARATIVE_CONFIG_STRING={}",
            &["portcullis.toml:1 declarative_config and KONG_DECLARATIVE_CONFIG_STRING"],
        );
        check_wrong("", "", "KONG_TRUSTED_IPS=10.0.0.0/40", &["\n  KONG_TRUSTED_IPS: \"10.0.0.0/40\""]);
        check_wrong("real_ip_header = \"proxy_protocol\"", "", "", &["real_ip_header: \"proxy_protocol\""]);
        check_wrong("", "", "KONG_PREFIX=/a\nKONG_DATA=/b", &["KONG_PREFIX", "KONG_DATA"]);
        check_wrong("", "", "PORTCULLIS_ADMIN_TOKEN=", &["PORTCULLIS_ADMIN_TOKEN: it is empty"]);
        check_wrong("", "", "KONG_SSL_CERT={vault://env/cert}", &["KONG_SSL_CERT", "vault"]);
        check_wrong("proxy_access_log = \"a.log basic\"", "", "", &["access_log_format"]);
        check_wrong(
            "log_level = info\nproxy_listen = 0.0.0.0:8000\nworkers 1\n",
            "",
            "",
            &[
                "portcullis.toml:1 log_level: text stands in quotes",
                "portcullis.toml:2 proxy_listen: text stands in quotes",
                "portcullis.toml:3: ",
            ],
        );
        check_wrong("[proxy]\nlisten = 1\n", "", "", &["portcullis.toml:1 proxy", "flat"]);
    }

    fn check_warned(file: &str, flags: &str, variables: &str, expected: &[&str]) {
        let (_, warnings) = load(file, flags, variables).expect("settings that are right");
        assert_eq!(warnings.is_empty(), expected.is_empty(), "{warnings}");
        for part in expected {
            assert!(warnings.contains(part), "no {part:?} in: {warnings}");
        }
    }

    #[test]
    fn what_is_accepted_with_a_warning() {
        check_warned("", "", "KONG_LOG_LEVEL=warn\nHOME=/root", &[]);
        check_warned("", "", "KONG_LUA_PACKAGE_PATH=x\nKONG_VITALS=on", &["KONG_LUA_PACKAGE_PATH, KONG_VITALS"]);
        check_warned("admin_listen = \"0.0.0.0:8001\"", "admin_plaintext=on", "", &["admin_listen", "other machines"]);
        check_warned("", "admin_listen=[::]:8001 ssl", "", &["all that stands before it"]);
        check_warned("admin_listen = [\"[::1]:8001\", \"127.0.0.1:8444 ssl\"]", "", "", &[]);
        check_warned("router_flavor = \"traditional\"", "", "", &["path_handling"]);
        check_warned("trusted_ips = \"0.0.0.0/0,::/0\"", "", "", &["trusted_ips"]);
        check_warned("ssl_cert = \"a,b\"\nssl_cert_key = \"a,b\"", "", "", &["only the first"]);
        check_warned("", "admin_token=0123456789abcdef", "", &["process list"]);
        check_warned("admin_token = \"secret\"", "", "", &["shorter than 16"]);
    }

    /// Kubernetes and Docker give every container variables that describe the services beside it. A
    /// service called `portcullis` must not keep the gate from starting.
    #[test]
    fn variables_that_describe_services_are_not_settings() {
        let service = "PORTCULLIS_SERVICE_HOST=10.0.0.7\nPORTCULLIS_SERVICE_PORT=80\nPORTCULLIS_SERVICE_PORT_HTTP=80\n\
                       PORTCULLIS_PORT=tcp://10.0.0.7:80\nPORTCULLIS_PORT_80_TCP=tcp://10.0.0.7:80\n\
                       PORTCULLIS_PORT_80_TCP_ADDR=10.0.0.7\nPORTCULLIS_ADMIN_PORT_8001_TCP_PORT=8001";
        check_warned("", "", service, &[]);
        check_warned("", "", &service.replace("PORTCULLIS", "KONG"), &[]);
        check_wrong("", "", "PORTCULLIS_PORT=8000", &["PORTCULLIS_PORT: there is no such setting"]);
    }

    #[test]
    fn secrets_stay_out_of_debug_texts_and_errors() {
        let (settings, _) =
            load("admin_token = \"hunter2-hunter2-hunter2\"\ndeclarative_config_string = \"hunter2\"", "", "")
                .expect("settings that are right");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.admin_token.as_ref().map(Secret::expose), Some("hunter2-hunter2-hunter2"));

        for (file, flags) in [
            ("admin_token = \"hunter2 with spaces\"", ""),
            ("admin_token = hunter2", ""),
            ("admin_token: hunter2==", ""),
            ("", "admin_tokn=hunter2"),
        ] {
            let errors = load(file, flags, "").expect_err("a mistake");
            assert!(!errors.contains("hunter2"), "{errors}");
        }
        let assignment = Assignment::parse("admin_token=hunter2").expect("KEY=VALUE");
        assert!(!format!("{assignment:?}").contains("hunter2"));
    }
}
