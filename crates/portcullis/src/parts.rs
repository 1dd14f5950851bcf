//! From settings to what a gate is made of.

use crate::data_dir::DataDir;
use crate::settings::Settings;
use crate::settings::access_log::AccessLog as Sink;
use crate::settings::words::AccessLogFormat;
use net::dns::{self, Names};
use net::fetch::{Fetcher, Trust};
use net::listen::Listen;
use net::upstream_tls::{UpstreamTls, UpstreamTlsOptions};
use proxy::access_log::{AccessLog, Format};
use proxy::plan::{DefaultCertificate, Workshop};
use schema::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;

/// What compiling needs. `upstream_tls` goes from one workshop to the next, so that connections outlive a change.
pub fn workshop(
    settings: &Settings,
    data: &DataDir,
    names: &Arc<Names>,
    upstream_tls: Arc<UpstreamTls>,
) -> Result<Workshop, String> {
    let unknown: Vec<&str> = settings
        .plugins
        .named()
        .filter(|name| !plugins::PLUGINS.iter().any(|definition| definition.name == *name))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("plugins: this version has no {}", unknown.join(", ")));
    }
    let authorities = authorities(settings)?;
    let options = UpstreamTlsOptions { ca_certificates: authorities.clone(), ..UpstreamTlsOptions::default() };
    let config = |options: &UpstreamTlsOptions| upstream_tls.config(options).map_err(|error| error.to_string());
    let anybody = UpstreamTlsOptions { verify: false, ..UpstreamTlsOptions::default() };
    let tls = Trust { verified: config(&options), anybody: config(&anybody) };
    Ok(Workshop {
        plugins: plugins::PLUGINS,
        default_certificate: default_certificate(settings, data)?,
        session_tickets: settings.ssl_session_tickets,
        upstream_tls,
        authorities,
        fetcher: Arc::new(Fetcher::new(names.clone(), tls)),
    })
}

/// How the names of services are looked up.
pub fn dns(settings: &Settings) -> dns::Settings {
    dns::Settings {
        servers: settings.dns_resolver.clone(),
        hosts_file: settings.dns_hostsfile.clone(),
        order: settings.dns_order.clone(),
        valid_ttl: settings.dns_valid_ttl,
        stale_ttl: settings.dns_stale_ttl,
        not_found_ttl: settings.dns_not_found_ttl,
        error_ttl: settings.dns_error_ttl,
        cache_size: usize::try_from(settings.dns_cache_size.get()).unwrap_or(usize::MAX),
    }
}

/// What the Admin API shows of the settings: no secrets.
pub fn shown(settings: &Settings) -> Value {
    json!({
        "database": settings.database().to_string(),
        "router_flavor": "traditional_compatible",
        "proxy_listen": settings.proxy_listen.iter().map(Listen::to_string).collect::<Vec<_>>(),
        "admin_listen": settings.admin_listen.iter().map(Listen::to_string).collect::<Vec<_>>(),
        "log_level": settings.log_level.word(),
    })
}

/// Settings that differ and have no effect before the next start.
pub fn later(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let same = [
        ("plugins", format!("{:?}", old.plugins) == format!("{:?}", new.plugins)),
        ("data", old.data == new.data),
        (
            "admin_token",
            old.admin_token.as_ref().map(|token| token.expose())
                == new.admin_token.as_ref().map(|token| token.expose()),
        ),
        ("workers", old.workers.count() == new.workers.count()),
        ("proxy_access_log", format!("{:?}", old.proxy_access_log) == format!("{:?}", new.proxy_access_log)),
        ("access_log_format", format!("{:?}", old.access_log_format) == format!("{:?}", new.access_log_format)),
        ("watch_files", old.watch_files == new.watch_files),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

fn default_certificate(settings: &Settings, data: &DataDir) -> Result<DefaultCertificate, String> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (certificate, key) = match (&settings.ssl_cert, &settings.ssl_cert_key) {
        (Some(certificate), Some(key)) => (read(certificate)?, read(key)?),
        _ => {
            if settings.proxy_listen.iter().any(|listen| listen.tls) {
                tracing::warn!(
                    "callers whose server name no certificate covers get a self-signed one; set ssl_cert and ssl_cert_key"
                );
            }
            data.default_certificate()?
        }
    };
    net::certificate::parse(&certificate, &key).map(DefaultCertificate).map_err(|error| format!("ssl_cert: {error}"))
}

/// `None` for whom the operating system trusts.
pub fn authorities(settings: &Settings) -> Result<Option<Vec<net::CertificateDer<'static>>>, String> {
    let store = &settings.lua_ssl_trusted_certificate;
    if store.files.is_empty() {
        return Ok(None);
    }
    let mut authorities = if store.system { net::certificate::system_authorities() } else { Vec::new() };
    for path in &store.files {
        let failed = |error: String| format!("lua_ssl_trusted_certificate: {}: {error}", path.display());
        let pem = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        authorities.extend(net::certificate::parse_chain(&pem).map_err(|error| failed(error.to_string()))?);
    }
    Ok(Some(authorities))
}

pub fn access_log(settings: &Settings) -> Result<Option<AccessLog>, String> {
    let sink: Box<dyn Write + Send> = match &settings.proxy_access_log {
        Sink::Off => return Ok(None),
        Sink::Stdout => Box::new(io::stdout()),
        Sink::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Box::new(file.map_err(|error| format!("proxy_access_log: {}: {error}", path.display()))?)
        }
    };
    let format = match settings.access_log_format {
        AccessLogFormat::Json => Format::Json,
        AccessLogFormat::Common => Format::Common,
    };
    AccessLog::start(format, sink).map(Some).map_err(|error| format!("proxy_access_log: {error}"))
}
