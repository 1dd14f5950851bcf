//! The questions for one name, and what their answers mean.

use super::settings::{Kind, Settings};
use futures_util::future::join_all;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub ip: IpAddr,
    /// The port that an SRV record gives, which stands in place of the configured one.
    pub port: Option<u16>,
    /// Places with a higher number are for the case that none with a lower one can be reached (RFC 2782).
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u32,
}

impl Place {
    /// An address by itself.
    pub fn of(ip: IpAddr) -> Place {
        Place { ip, port: None, priority: 0, weight: WHOLE }
    }
}

/// The weight 1 of a record, which its addresses may have to share.
const WHOLE: u32 = 1000;

/// Where a name leads, for how long, and which type of record said so.
pub(super) struct Found {
    pub places: Arc<[Place]>,
    pub ttl: Duration,
    /// A part of them could not be found.
    pub partly: bool,
    pub by: Kind,
}

/// Where records of one type lead.
struct Led {
    places: Vec<Place>,
    ttl: Duration,
    partly: bool,
}

/// Why a name leads nowhere.
pub(super) enum NotFound {
    /// The servers say that there is nothing.
    Nowhere(String),
    /// The servers did not say.
    Failed(String),
}

/// Who is asked.
pub(super) struct Resolver {
    settings: Settings,
    hosts: Hosts,
    /// In their order: the next one is asked where one does not answer.
    servers: Vec<TokioResolver>,
    /// How often all of them are asked.
    attempts: usize,
    /// What a name with fewer dots than `ndots` is looked for under, before it is by itself.
    search: Vec<Name>,
    ndots: usize,
}

/// What names of the hosts file are believed for: until the file is read again.
const OF_FILE: Duration = Duration::from_secs(24 * 3600);
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Resolver {
    pub fn new(settings: Settings) -> Result<Resolver, String> {
        let (config, mut options) = system()?;
        let named: Vec<NameServerConfig> = match settings.servers.as_slice() {
            [] => config.name_servers().to_vec(),
            servers => servers.iter().map(|address| server(*address)).collect(),
        };
        let (attempts, ndots) = (options.attempts.max(1), options.ndots);
        // Answers are kept by whoever asks here; the library would ask two servers at once, and take the word of
        // the faster one that there is no such name.
        (options.cache_size, options.attempts) = (0, 0);
        options.use_hosts_file = ResolveHosts::Never;
        let one = |server: NameServerConfig| {
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            builder.with_options(options.clone()).build()
        };
        let servers = named.into_iter().map(one).collect::<Result<_, _>>();
        let servers = servers.map_err(|error| format!("names cannot be looked up: {error}"))?;
        let hosts = hosts(&settings)?;
        Ok(Resolver { settings, hosts, servers, attempts, search: config.search().to_vec(), ndots })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks for one spelling and type of record after the other until there is an answer.
    pub async fn find(&self, host: &str, last: Option<Kind>) -> Result<Found, NotFound> {
        let name = Name::from_str(host).map_err(|error| NotFound::Nowhere(format!("it is no DNS name: {error}")))?;
        if let Some(found) = self.in_hosts_file(&name) {
            return Ok(found);
        }
        for name in self.spellings(name) {
            let mut failed = None;
            for kind in self.settings.order.after(last) {
                let found = match kind {
                    Kind::Srv => self.services(&name).await,
                    Kind::A => self.addresses(&name, RecordType::A).await,
                    Kind::Aaaa => self.addresses(&name, RecordType::AAAA).await,
                };
                match found {
                    Ok(Led { places, ttl, partly }) => {
                        return Ok(Found { places: places.into(), ttl, partly, by: kind });
                    }
                    // A server that does not answer what it did answer will not answer the rest.
                    Err(reason @ NotFound::Failed(_)) if Some(kind) == last => return Err(reason),
                    Err(reason @ NotFound::Failed(_)) => failed = Some(reason),
                    Err(NotFound::Nowhere(_)) => {}
                }
            }
            // It may be there all the same: the next spelling could be somebody else.
            if let Some(reason) = failed {
                return Err(reason);
            }
        }
        Err(NotFound::Nowhere("the name has no address".to_owned()))
    }

    /// A name as `resolv.conf(5)` says it is looked for: by itself, and under each domain of `search`.
    /// `localhost` is this machine, and nobody is asked (RFC 6761 section 6.3).
    fn spellings(&self, mut name: Name) -> Vec<Name> {
        let last = name.iter().next_back().unwrap_or_default();
        if name.is_fqdn() || last.eq_ignore_ascii_case(b"localhost") {
            name.set_fqdn(true);
            return vec![name];
        }
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let under = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut spellings: Vec<Name> = under.collect();
        name.set_fqdn(true);
        let at = if dots >= self.ndots { 0 } else { spellings.len() };
        spellings.insert(at, name);
        spellings
    }

    async fn lookup(&self, name: &Name, record: RecordType) -> Result<Lookup, NotFound> {
        let mut failed = NotFound::Failed("there is no name server".to_owned());
        for server in self.servers.iter().cycle().take(self.servers.len() * self.attempts) {
            match server.lookup(name.clone(), record).await.map_err(NotFound::from) {
                Err(reason @ NotFound::Failed(_)) => failed = reason,
                outcome => return outcome,
            }
        }
        Err(failed)
    }

    fn in_hosts_file(&self, name: &Name) -> Option<Found> {
        [(RecordType::A, Kind::A), (RecordType::AAAA, Kind::Aaaa)].into_iter().find_map(|(record, by)| {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), record))?;
            let Led { places, .. } = addresses_of(&lookup)?;
            Some(Found { places: places.into(), ttl: OF_FILE, partly: false, by })
        })
    }

    async fn addresses(&self, name: &Name, record: RecordType) -> Result<Led, NotFound> {
        let lookup = self.lookup(name, record).await?;
        addresses_of(&lookup).ok_or_else(|| NotFound::Nowhere("the name has no address".to_owned()))
    }

    /// SRV records, each with the addresses of its host (RFC 2782).
    async fn services(&self, name: &Name) -> Result<Led, NotFound> {
        let lookup = self.lookup(name, RecordType::SRV).await?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(service) => Some((service, record.ttl)),
            _ => None,
        });
        let asked = records.map(|(service, ttl)| async move { (service, ttl, self.hosts_of(service).await) });
        let mut led = Led { places: Vec::new(), ttl: Duration::MAX, partly: false };
        let mut outcome = NotFound::Nowhere("the name has no SRV record".to_owned());
        for (service, ttl, found) in join_all(asked).await {
            match found {
                Ok(Led { places, ttl: of_addresses, .. }) => {
                    led.ttl = led.ttl.min(Duration::from_secs(ttl.into())).min(of_addresses);
                    // RFC 2782 leaves a small chance to a weight of 0. The addresses of a host share its weight.
                    let shares = u32::try_from(places.len()).unwrap_or(u32::MAX).max(1);
                    let weight = (u32::from(service.weight.max(1)) * WHOLE / shares).max(1);
                    let port = Some(service.port).filter(|port| *port > 0);
                    led.places.extend(places.into_iter().map(|place| Place {
                        port,
                        priority: service.priority,
                        weight,
                        ..place
                    }));
                }
                Err(reason) => {
                    led.partly |= matches!(reason, NotFound::Failed(_));
                    outcome = reason;
                }
            }
        }
        led.places.sort_by_key(|place| place.priority);
        if led.places.is_empty() { Err(outcome) } else { Ok(led) }
    }

    async fn hosts_of(&self, service: &SRV) -> Result<Led, NotFound> {
        if let Some(found) = self.in_hosts_file(&service.target) {
            return Ok(Led { places: found.places.to_vec(), ttl: found.ttl, partly: false });
        }
        match self.addresses(&service.target, RecordType::A).await {
            Err(NotFound::Nowhere(_)) => self.addresses(&service.target, RecordType::AAAA).await,
            found => found,
        }
    }
}

/// The addresses in an answer, and for how long all that led to them holds.
fn addresses_of(lookup: &Lookup) -> Option<Led> {
    let ips = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
    let places: Vec<Place> = ips.map(Place::of).collect();
    let ttl = lookup.answers().iter().map(|record| record.ttl).min()?;
    (!places.is_empty()).then_some(Led { places, ttl: Duration::from_secs(ttl.into()), partly: false })
}

/// What `resolv.conf` says. Without one the name server of this machine is asked, as `resolv.conf(5)` says.
fn system() -> Result<(ResolverConfig, ResolverOpts), String> {
    let text = match fs::read(RESOLV_CONF) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{RESOLV_CONF}: {error}")),
    };
    let named = text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_start().starts_with(b"nameserver"));
    let own = format!("\nnameserver {}\n", Ipv4Addr::LOCALHOST);
    let text = if named { text } else { [text, own.into_bytes()].concat() };
    hickory_resolver::system_conf::parse_resolv_conf(text).map_err(|error| format!("{RESOLV_CONF}: {error}"))
}

fn server(address: SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port);
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn hosts(settings: &Settings) -> Result<Hosts, String> {
    let failed = |error: io::Error| format!("dns_hostsfile: {}: {error}", settings.hosts_file.display());
    let mut hosts = Hosts::default();
    match fs::File::open(&settings.hosts_file) {
        Ok(file) => hosts.read_hosts_conf(file).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(hosts)
}

impl From<NetError> for NotFound {
    fn from(error: NetError) -> NotFound {
        match &error {
            NetError::Dns(DnsError::NoRecordsFound(_)) => NotFound::Nowhere("the name has no address".to_owned()),
            _ => NotFound::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_resolv_conf_says() {
        let mut resolver = Resolver::new(Settings::default()).unwrap();
        resolver.search = ["one.test", "two.test"].map(|domain| domain.parse().unwrap()).into();
        resolver.ndots = 2;
        for (name, expected) in [
            ("web", "web.one.test. web.two.test. web."),
            ("web.shop", "web.shop.one.test. web.shop.two.test. web.shop."),
            ("a.web.shop", "a.web.shop. a.web.shop.one.test. a.web.shop.two.test."),
            ("web.", "web."),
            ("localhost", "localhost."),
            ("a.LOCALHOST", "a.localhost."),
        ] {
            let spellings: Vec<String> = resolver.spellings(name.parse().unwrap()).iter().map(Name::to_ascii).collect();
            assert_eq!(spellings.join(" "), expected);
        }
    }
}
