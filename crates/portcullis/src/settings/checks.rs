//! What only shows when settings are seen together, and choices that are better known.

use super::places::Chosen;
use super::problem::{Fault, Warning};
use super::table::Settings;
use super::words::{Database, RouterFlavor};
use net::listen::Listen;

impl Settings {
    /// Where entities are kept.
    pub fn database(&self) -> Database {
        let declared = self.declarative_config.is_some() || self.declarative_config_string.is_some();
        self.database.unwrap_or(if declared { Database::Off } else { Database::Sqlite })
    }
}

/// Settings that cannot stand beside each other.
pub fn contradictions(settings: &Settings, chosen: &Chosen, faults: &mut Vec<Fault>) {
    if settings.declarative_config.is_some() && settings.declarative_config_string.is_some() {
        let places =
            format!("{} and {}", chosen.place("declarative_config"), chosen.place("declarative_config_string"));
        faults.push(Fault::new(places, "both give a configuration; keep one"));
    }
    let declared = ["declarative_config", "declarative_config_string"].into_iter();
    let declared = declared.zip([settings.declarative_config.is_some(), settings.declarative_config_string.is_some()]);
    if settings.database() != Database::Off {
        for (name, _) in declared.filter(|(_, given)| *given) {
            let text = "with a database the configuration is in the database; put the file there with `portcullis sync FILE`, \
                        or set database to off";
            faults.push(Fault::new(chosen.place(name), text));
        }
    }
    if settings.encryption_key.is_some() && settings.encryption_key_file.is_some() {
        let places = format!("{} and {}", chosen.place("encryption_key"), chosen.place("encryption_key_file"));
        faults.push(Fault::new(places, "both give keys; keep one"));
    }
    for (set, has, missing, has_missing) in [
        ("ssl_cert", settings.ssl_cert.is_some(), "ssl_cert_key", settings.ssl_cert_key.is_some()),
        ("ssl_cert_key", settings.ssl_cert_key.is_some(), "ssl_cert", settings.ssl_cert.is_some()),
    ] {
        if has && !has_missing {
            faults.push(Fault::new(chosen.place(set), format!("{missing} is not set; set both or none")));
        }
    }
    let open = |listen: &&Listen| !listen.addr.ip().is_loopback() && !listen.tls;
    if let Some(listen) = settings.admin_listen.iter().find(open).filter(|_| !settings.admin_plaintext) {
        let text = format!(
            "other machines can reach {}, and tokens would cross the network for all to read; add ssl, listen on \
             127.0.0.1, or set admin_plaintext to on",
            listen.addr
        );
        faults.push(Fault::new(chosen.place("admin_listen"), text));
    }
    if settings.proxy_listen.is_empty() && settings.admin_listen.is_empty() {
        let places = format!("{} and {}", chosen.place("proxy_listen"), chosen.place("admin_listen"));
        faults.push(Fault::new(places, "both are off, so there is nothing to listen on; give one an address"));
    }
}

/// Settings that work, with a consequence that the operator may not have meant.
pub fn cautions(settings: &Settings, chosen: &Chosen, warnings: &mut Vec<Warning>) {
    let mut warn = |name: &str, text: &str| warnings.push(Warning::new(format!("{}: {text}", chosen.place(name))));
    let written = |name: &str| chosen.given(name).map_or("", |given| given.text.trim());

    let open = || settings.admin_listen.iter().filter(|listen| !listen.addr.ip().is_loopback());
    if open().any(|listen| !listen.tls) {
        warn(
            "admin_listen",
            "other machines can reach the Admin API, and its tokens cross the network for all to read (admin_plaintext)",
        );
    } else if open().next().is_some() {
        warn("admin_listen", "other machines can reach the Admin API; its token is all that stands before it");
    }
    if entries(written("trusted_ips")).any(|block| block.ends_with("/0")) {
        warn("trusted_ips", "everybody is trusted, so any caller can claim any address; name the proxies in front");
    }
    if settings.router_flavor == RouterFlavor::Traditional {
        warn("router_flavor", "routes are matched as traditional_compatible; path_handling v1 is not carried");
    }
    for name in ["ssl_cert", "ssl_cert_key"] {
        if entries(written(name)).nth(1).is_some() {
            warn(name, "only the first of the list is used");
        }
    }
    if let Some(token) = &settings.admin_token {
        if token.expose().len() < 16 {
            warn("admin_token", "the token is shorter than 16 characters and can be guessed; take a random one");
        }
        if chosen.place("admin_token").starts_with("--") {
            warn("admin_token", "everybody on this machine sees it in the process list; use PORTCULLIS_ADMIN_TOKEN");
        }
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}
