//! The table of settings: every setting of the gate with its type, default, reader and manual text.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use net::dns::Order as DnsOrder;
use net::forwarded::{RealIpHeader, TrustedPeers};
use net::listen::Listen;

use super::access_log::AccessLog;
use super::definition::Origin::{Kong, KongAs, Ours};
use super::definition::{Setting, settings};
use super::enabled_plugins::EnabledPlugins;
use super::headers::{ResponseHeaders, UpstreamHeaders};
use super::places::Chosen;
use super::problem::Fault;
use super::secret::Secret;
use super::trust_store::TrustStore;
use super::value;
use super::words::{AccessLogFormat, Database, ErrorType, LogLevel, RouterFlavor};
use super::workers::Workers;

settings! {
    "Configuration" {
        /// The file with services, routes, consumers and plugins, in Kong's declarative format.
        ///
        /// Relative to the working directory. `portcullis reload` reads it again.
        declarative_config: Option<PathBuf> = "" => value::optional_path, Kong;

        /// The declarative configuration itself, in place of a file.
        ///
        /// Meant for containers that are given everything in variables. It may hold secrets: it is
        /// never written to a log. It cannot stand beside `declarative_config`.
        declarative_config_string: Option<Secret> = "" => Secret::optional, Kong;

        /// Where entities are kept: `sqlite`, `postgres` or `off`.
        ///
        /// `sqlite` keeps them in a file of the data directory, `postgres` in a server that many gates share (`pg_host`
        /// and so on); both are changed entity by entity over the Admin API. `off` keeps them in memory, as the
        /// declarative configuration says. Without this setting it is `off` where a declarative configuration is given,
        /// and `sqlite` otherwise. (Kong's default is `postgres`.)
        database: Option<Database> = "" => Database::optional, Kong;

        /// The file with the keys that secrets in the database are encrypted with.
        ///
        /// A key a line, 64 hexadecimal digits (`openssl rand -hex 32`). The first encrypts, all decrypt: a new key is put
        /// before the old ones, which stay until `portcullis db encrypt` has been run. Without this setting, and
        /// without `encryption_key`, it is `encryption.key` in the data directory, made at the first start. Gates that
        /// share a database need the same keys. Keep a copy elsewhere: without the key, what it has encrypted is
        /// lost.
        encryption_key_file: Option<PathBuf> = "" => value::optional_path, Ours;

        /// The keys themselves, in place of a file; several with commas between them. Secret.
        encryption_key: Option<Secret> = "" => Secret::optional, Ours;

        /// Whether API keys are kept in the database so that the Admin API can show them again: `on`, as tools for Kong
        /// expect, or `off`.
        ///
        /// With `off` a key is told once, in the answer to the request that made or gave it, and kept as `sha256:` and its
        /// SHA-256, which is also shown from then on. Keys that were kept before stay as they are until
        /// `portcullis db hash-keys` has been run. A file for `sync` names its keys then: one that it leaves out is made, and
        /// told nobody.
        readable_keys: bool = "on" => value::switch, Ours;

        /// The plugins that may be used: `bundled`, a comma list of names, or `off`.
        ///
        /// A configuration that uses another plugin is refused as a whole.
        plugins: EnabledPlugins = "bundled" => EnabledPlugins::of, Kong;

        /// How routes are matched: `traditional_compatible`.
        ///
        /// `traditional` is accepted with a warning, as `path_handling: v1` of that older router is
        /// not carried. `expressions` is refused: routes written as expressions are not read.
        router_flavor: RouterFlavor = "traditional_compatible" => RouterFlavor::of, Kong;

        /// Whether the gate watches its files and reloads when one of them changes: `on` or `off`.
        ///
        /// They are the declarative file, the settings file, `ssl_cert` and `ssl_cert_key`, looked at once a
        /// second. As with `portcullis reload`, what is not right changes nothing and is told in the log.
        watch_files: bool = "off" => value::switch, Ours;

        /// The directory for what the gate keeps between starts, such as the token of the Admin API.
        ///
        /// Relative to the working directory; made with access for its owner only. Each running gate
        /// needs its own. Kong's `prefix` is read as this setting.
        data: PathBuf = ".portcullis" => value::path, KongAs(&["prefix"]);
    }

    "PostgreSQL" {
        /// The host of the PostgreSQL server.
        pg_host: String = "127.0.0.1" => value::text, Kong;

        /// The port of the PostgreSQL server.
        pg_port: u16 = "5432" => value::parsed, Kong;

        /// How long a question to the PostgreSQL server may take, in milliseconds.
        pg_timeout: Duration = "5000" => value::milliseconds, Kong;

        /// Who the gate is to the PostgreSQL server.
        pg_user: String = "kong" => value::text, Kong;

        /// The password of `pg_user`. Secret.
        pg_password: Option<Secret> = "" => Secret::optional, Kong;

        /// The name of the database. Its tables are the gate's own; those of a Kong are not read.
        pg_database: String = "kong" => value::text, Kong;

        /// The schema that the tables are in; the server's own choice without it.
        pg_schema: Option<String> = "" => value::identifier, Kong;

        /// Whether the PostgreSQL server is spoken to over TLS: `on` or `off`.
        pg_ssl: bool = "off" => value::switch, Kong;

        /// Whether the gate refuses to go on without TLS where the server has none: `on` or `off`.
        ///
        /// (Kong's default is `off`.)
        pg_ssl_required: bool = "on" => value::switch, Kong;

        /// Whether the server's certificate is verified, by `lua_ssl_trusted_certificate`: `on` or `off`.
        ///
        /// (Kong's default is `off`.)
        pg_ssl_verify: bool = "on" => value::switch, Kong;
    }

    "Listening" {
        /// Where callers reach the gate: a comma list of `address:port`, each with flags, or `off`.
        ///
        /// The flags are Kong's: `ssl` for TLS and `http2`, for example
        /// `0.0.0.0:8000, 0.0.0.0:8443 http2 ssl`.
        proxy_listen: Vec<Listen> = "0.0.0.0:8000, 0.0.0.0:8443 http2 ssl" => value::listens, Kong;

        /// Where the Admin API listens, written as for `proxy_listen`, or `off`.
        ///
        /// An address that other machines can reach must have `ssl`, unless `admin_plaintext` is on. (Kong's default
        /// also opens `127.0.0.1:8444 http2 ssl`.)
        admin_listen: Vec<Listen> = "127.0.0.1:8001" => value::listens, Kong;

        /// The token that every request to the Admin API must carry. Secret.
        ///
        /// It is sent as `Kong-Admin-Token: TOKEN`, `Authorization: Bearer TOKEN`, or as the password of any user
        /// (`http://any:TOKEN@localhost:8001`), for tools that know no token. Without this
        /// setting the gate makes a random one at its first start and keeps it in the file
        /// `admin_token` of the data directory. Printable ASCII without spaces; fewer than 16
        /// characters are accepted with a warning.
        admin_token: Option<Secret> = "" => Secret::token, Ours;

        /// Whether the Admin API may listen without TLS where other machines can reach it: `on` or `off`.
        ///
        /// Its tokens, and the secrets in its answers, then cross the network for all to read. For containers whose
        /// network is their own.
        admin_plaintext: bool = "off" => value::switch, Ours;

        /// The host names that requests to the Admin API may be for, besides addresses and `localhost`: a comma list.
        ///
        /// Another one is refused, so that no web page can lead a browser here under a name of its own (DNS rebinding).
        /// Empty knows any name where `admin_listen` lets other machines in, and none where it does not.
        admin_hosts: Vec<String> = "" => value::host_names, Ours;

        /// For how many seconds the audit log keeps who changed what in the database; `0` keeps it for ever.
        audit_log_record_ttl: Option<Duration> = "2592000" => value::limit_s, Kong;

        /// The default certificate for TLS: the path of a PEM file, with its chain.
        ///
        /// Stands only together with `ssl_cert_key`; without both the gate makes a self-signed one.
        /// Of Kong's comma list the first is used, the others are named in a warning.
        ssl_cert: Option<PathBuf> = "" => value::first_pem, Kong;

        /// The private key of `ssl_cert`: the path of a PEM file.
        ssl_cert_key: Option<PathBuf> = "" => value::first_pem, Kong;

        /// Whether callers may resume TLS sessions: `on` or `off`.
        ///
        /// Resuming spares both sides the costly part of a handshake. The key of the tickets is made anew
        /// at each start and each change of the configuration, and never leaves memory.
        ssl_session_tickets: bool = "on" => value::switch, Kong;
    }

    "Limits for callers" {
        /// How many connections callers may have at the same time; `0` sets no limit.
        ///
        /// One more is closed at once. Each connection takes a file descriptor, and another one while a
        /// service is asked: the system's limit (LimitNOFILE) should be twice as high.
        max_connections: Option<NonZeroU64> = "0" => value::limit, Ours;

        /// The largest body of a request: bytes, or with `k`, `m` or `g`; `0` sets no limit.
        ///
        /// A larger one is answered with 413, before it is read if its length is stated. Without a limit
        /// bodies are passed on as they come, in bounded memory.
        client_max_body_size: Option<NonZeroU64> = "0" => value::size, KongAs(&["nginx_http_client_max_body_size", "nginx_client_max_body_size"]);

        /// The longest request target and the longest header line, in bytes.
        ///
        /// A longer target is answered with 414, a longer line with 431.
        client_max_line_size: NonZeroU64 = "8192" => value::parsed, Ours;

        /// The largest head of a request, in bytes, over HTTP/2 the size of its fields. More is a 431.
        client_max_head_size: NonZeroU64 = "65536" => value::parsed, Ours;

        /// How many header lines a request may have. More are a 431.
        client_max_headers: NonZeroU64 = "100" => value::parsed, Ours;

        /// How many HTTP/2 requests a connection may have at the same time.
        client_max_streams: NonZeroU64 = "128" => value::parsed, Ours;

        /// How many seconds a TLS handshake, or the head of a request from its first byte, may take.
        ///
        /// One deadline for the whole of it: a caller who sends a byte now and then gains nothing.
        client_head_timeout_s: Duration = "60" => value::seconds, Ours;

        /// How many seconds a caller may let pass between two pieces of its body. Then it gets a 408.
        client_body_timeout_s: Duration = "60" => value::seconds, Ours;

        /// How many seconds a connection may be without a request before it is closed.
        client_idle_timeout_s: Duration = "75" => value::seconds, Ours;

        /// How many seconds a caller may take nothing of its answer before its connection is closed.
        client_send_timeout_s: Duration = "60" => value::seconds, Ours;
    }

    "Callers who go on as something else" {
        /// The protocols that a caller's connection may go on as (`Upgrade`): a comma list, or `off`.
        ///
        /// From then on bytes pass both ways and nothing is checked any more, so list only what a service
        /// cannot take requests over. `h2c` and `HTTP` are refused: with them requests would go around every
        /// plugin. Over HTTP/1.1 only. Kong passes `websocket` on, and nothing else.
        client_upgrades: Vec<HeaderValue> = "websocket" => value::upgrades, Ours;
    }

    "Callers behind a proxy" {
        /// The proxies in front of the gate whose forwarded headers are believed: addresses and CIDR blocks.
        ///
        /// A comma list; empty believes nobody. From everybody else X-Forwarded-* is replaced and
        /// `real_ip_header` is not read.
        trusted_ips: TrustedPeers = "" => value::parsed, Kong;

        /// The header in which a trusted proxy names the caller: `X-Real-IP` or `X-Forwarded-For`.
        real_ip_header: RealIpHeader = "X-Real-IP" => value::parsed, Kong;

        /// Whether trusted proxies are skipped in X-Forwarded-For, from its end: `on` or `off`.
        ///
        /// `on` takes the last address that is not itself trusted, `off` the last address.
        real_ip_recursive: bool = "off" => value::switch, Kong;
    }

    "Answers and headers" {
        /// The headers that the gate adds to answers: a comma list, or `off`.
        ///
        /// - `Server`: on answers that the gate makes itself
        /// - `Via`: on answers of a service
        /// - `server_tokens`: both of these
        /// - `X-Kong-Proxy-Latency`, `X-Kong-Upstream-Latency`: on answers of a service, in ms
        /// - `X-Kong-Response-Latency`: on answers that the gate makes itself, in ms
        /// - `X-Kong-Admin-Latency`: on answers of the Admin API, in ms
        /// - `latency_tokens`: these four
        /// - `X-Kong-Upstream-Status`: the status the service gave
        /// - `X-Kong-Request-Id`: the identifier of the request
        headers: ResponseHeaders = "server_tokens, latency_tokens, X-Kong-Request-Id" => ResponseHeaders::of, Kong;

        /// The headers that the gate adds to requests to a service: a comma list, or `off`.
        ///
        /// - `X-Kong-Request-Id`: the identifier of the request
        /// - `Forwarded`: who called, for which host, over what (RFC 7239), after what a trusted proxy says
        ///
        /// `X-Forwarded-*` and `X-Real-IP` are added in any case, as in Kong.
        headers_upstream: UpstreamHeaders = "X-Kong-Request-Id" => UpstreamHeaders::of, Kong;

        /// Whether a caller who sends `Kong-Debug: 1` is told which route and service matched: `on` or `off`.
        ///
        /// Any caller can send that header: leave it `off` where names of routes are not public.
        allow_debug_header: bool = "off" => value::switch, Kong;

        /// The form of error answers to callers who state no preference.
        ///
        /// One of `text/plain`, `text/html`, `application/json`, `application/xml`. Used when the
        /// request has no Accept header.
        error_default_type: ErrorType = "text/plain" => ErrorType::of, Kong;
    }

    "Logging" {
        /// How much the gate tells of itself: `debug`, `info`, `notice`, `warn`, `error` or `crit`.
        log_level: LogLevel = "notice" => LogLevel::of, Kong;

        /// Where each request is recorded: `off`, `stdout` (or `/dev/stdout`), or the path of a file.
        ///
        /// A relative path starts at the working directory. Kong's format name after the path is not
        /// read; `access_log_format` chooses the form. (Kong's default is `logs/access.log`.)
        proxy_access_log: AccessLog = "off" => AccessLog::of, Kong;

        /// The form of a line of the access log: `json`, or `common` (Common Log Format).
        access_log_format: AccessLogFormat = "json" => AccessLogFormat::of, Ours;
    }

    "Connections to services" {
        /// How many idle connections are kept for each service address, per core; `0` keeps none.
        upstream_keepalive_pool_size: usize = "512" => value::count, Kong;

        /// After how many requests a connection to a service is closed; `0` sets no limit.
        upstream_keepalive_max_requests: Option<NonZeroU64> = "10000" => value::limit, Kong;

        /// After how many seconds an idle connection to a service is closed; `0` sets no limit.
        upstream_keepalive_idle_timeout: Option<Duration> = "60" => value::limit_s, Kong;

        /// The name servers that are asked for the names of services: a comma list of `address` or `address:port`.
        ///
        /// They are asked in this order. Empty takes those of `/etc/resolv.conf`, whose other entries (`search`,
        /// `options ndots`, `timeout`, `attempts`) hold in any case. Both files are read at the start and at each
        /// reload.
        dns_resolver: Vec<SocketAddr> = "" => value::name_servers, Kong;

        /// The file with names that are not asked for.
        dns_hostsfile: PathBuf = "/etc/hosts" => value::path, Kong;

        /// The record types that a name is asked for, one after the other, until there is an answer.
        ///
        /// A comma list of `LAST` (the type that answered before), `SRV`, `A`, `AAAA` and `CNAME` (aliases are
        /// followed in any case). The port and the weight of an SRV record stand in place of the configured
        /// ones. (Kong's default lacks AAAA.)
        dns_order: DnsOrder = "LAST,SRV,A,AAAA,CNAME" => value::parsed, Kong;

        /// For how many seconds an answer is used, in place of the TTL that it has; empty uses the TTL.
        ///
        /// A TTL under one second counts as one.
        dns_valid_ttl: Option<Duration> = "" => value::optional_seconds, Kong;

        /// For how many seconds after its time an answer is still used, while and should it not be renewed.
        dns_stale_ttl: Duration = "3600" => value::seconds, Kong;

        /// For how many seconds it is believed that there is no such name.
        dns_not_found_ttl: Duration = "30" => value::seconds, Kong;

        /// How many seconds after a name server's failure it is asked again.
        dns_error_ttl: Duration = "1" => value::seconds, Kong;

        /// How many names are remembered.
        dns_cache_size: NonZeroU64 = "10000" => value::parsed, Kong;

        /// The authorities that certificates of services may come from: `system`, or paths of PEM files.
        ///
        /// A comma list; `system` can stand among the paths.
        lua_ssl_trusted_certificate: TrustStore = "system" => TrustStore::of, Kong;
    }

    "Process" {
        /// How many threads carry requests: `auto`, one for each core, or a number.
        ///
        /// Kong's `nginx_main_worker_processes` and its older name `nginx_worker_processes` are read
        /// as this setting.
        workers: Workers = "auto" => Workers::of, KongAs(&["nginx_main_worker_processes", "nginx_worker_processes"]);

        /// How many seconds a gate that is told to stop waits for requests under way.
        ///
        /// Counted from SIGTERM; what is not finished then is cut off.
        stop_timeout_s: Duration = "30" => value::seconds, Ours;
    }
}

/// The setting of this name, be it its own or Kong's.
pub fn find(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.names().any(|known| known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads_and_every_name_is_there_once() {
        let mut faults = Vec::new();
        let settings = Settings::read(&Chosen::default(), &mut faults);
        assert!(settings.is_some(), "{faults:?}");

        let mut names: Vec<_> = TABLE.iter().flat_map(Setting::names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_setting_begins_with_a_sentence() {
        for setting in TABLE {
            let paragraphs = setting.paragraphs();
            let summary = paragraphs.first().map(String::as_str).unwrap_or_default();
            assert!(summary.ends_with('.'), "{}: {summary}", setting.name);
        }
    }
}
