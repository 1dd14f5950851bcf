//! Which target of an upstream takes a request.

use crate::destination::{self, Destination};
use crate::exchange::Exchange;
use crate::weighted::{self, Turns};
use crate::{fields, query};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use model::upstream::{Algorithm, HashOn, Upstream};
use net::ClientConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The targets of one upstream.
pub struct Balancer {
    targets: Vec<Arc<Target>>,
    algorithm: Algorithm,
    inputs: [HashInput; 2],
    cookie_path: String,
    /// Where round robin stands.
    turn: AtomicU64,
    turns: Turns,
}

/// Where a target is, and its share of the requests.
pub struct Address {
    pub host: String,
    pub port: u16,
    pub weight: u32,
}

/// One address behind an upstream.
pub struct Target {
    pub destination: Destination,
    weight: u32,
    /// Requests under way.
    active: AtomicUsize,
    /// A moving average of the time to the first byte, in microseconds.
    latency_us: AtomicU64,
}

/// The target chosen for a request.
pub struct Choice {
    pub target: Arc<Target>,
    /// Where the choice follows from a hash, the address behind the target's name does too.
    pub hash: Option<u64>,
    /// The cookie that will bring the caller back here.
    pub set_cookie: Option<HeaderValue>,
}

enum HashInput {
    None,
    Consumer,
    Ip,
    Path,
    Header(HeaderName),
    Cookie(String),
    Query(String),
    Capture(String),
}

impl Balancer {
    /// Targets of weight 0 take nothing, so they are left out.
    pub fn new(upstream: &Upstream, targets: &[Address], tls: Option<&Arc<ClientConfig>>, http2: bool) -> Balancer {
        let target = |Address { host, port, weight }: &Address| {
            let mut destination = Destination::new(host, *port, tls.cloned(), http2);
            if let Some(host_header) = &upstream.host_header {
                destination = destination.named(host_header);
                destination.authority = destination::authority(host_header, *port, tls.is_some());
            }
            let (active, latency_us) = (AtomicUsize::new(0), AtomicU64::new(0));
            Arc::new(Target { destination, weight: *weight, active, latency_us })
        };
        let targets: Vec<Arc<Target>> = targets.iter().filter(|address| address.weight > 0).map(target).collect();
        let turns = Turns::new(weights(&targets));
        let hash_on = upstream.hash_on.unwrap_or(HashOn::None);
        // Hashing implies the algorithm, as in Kong.
        let algorithm = match (upstream.algorithm, hash_on) {
            (None | Some(Algorithm::RoundRobin), hash_on) if hash_on != HashOn::None => Algorithm::ConsistentHashing,
            (algorithm, _) => algorithm.unwrap_or(Algorithm::RoundRobin),
        };
        let first = HashInput::new(
            hash_on,
            &upstream.hash_on_header,
            &upstream.hash_on_cookie,
            &upstream.hash_on_query_arg,
            &upstream.hash_on_uri_capture,
        );
        let fallback = HashInput::new(
            upstream.hash_fallback.unwrap_or(HashOn::None),
            &upstream.hash_fallback_header,
            &upstream.hash_on_cookie,
            &upstream.hash_fallback_query_arg,
            &upstream.hash_fallback_uri_capture,
        );
        Balancer {
            targets,
            algorithm,
            inputs: [first, fallback],
            cookie_path: upstream.hash_on_cookie_path.clone().unwrap_or_else(|| "/".to_owned()),
            turn: AtomicU64::new(0),
            turns,
        }
    }

    /// Whether it hashes a part of the path that the route's expression captured.
    pub fn reads_captures(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, HashInput::Capture(_)))
    }

    /// Chooses a target, other than those already tried as long as there are others.
    pub fn choose(&self, exchange: &Exchange, tried: &[Arc<Target>]) -> Option<Choice> {
        let fresh = |target: &Target| !tried.iter().any(|tried| std::ptr::eq(Arc::as_ptr(tried), target));
        let any = !self.targets.iter().any(|target| fresh(target));
        let eligible = |target: &Target| any || fresh(target);
        match self.algorithm {
            Algorithm::RoundRobin => self.next_in_turn(eligible),
            Algorithm::ConsistentHashing => self.by_hash(exchange, eligible),
            Algorithm::LeastConnections => {
                self.least(eligible, |target| (target.active.load(Relaxed) + 1) as f64 / f64::from(target.weight))
            }
            Algorithm::Latency => self.least(eligible, |target| {
                let waiting = target.active.load(Relaxed) as f64 + 1.0;
                target.latency_us.load(Relaxed) as f64 * waiting / f64::from(target.weight)
            }),
        }
    }

    fn next_in_turn(&self, eligible: impl Fn(&Target) -> bool) -> Option<Choice> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let first = self.targets.get(self.turns.at(turn, weights(&self.targets))?)?;
        let target = match eligible(first) {
            true => first,
            false => self.targets.iter().find(|target| eligible(target))?,
        };
        Some(Choice { target: target.clone(), hash: None, set_cookie: None })
    }

    fn least(&self, eligible: impl Fn(&Target) -> bool, cost: impl Fn(&Target) -> f64) -> Option<Choice> {
        let count = self.targets.len();
        // Equals are taken in turn, or all cores would choose the same first target.
        let turn = usize::try_from(self.turn.fetch_add(1, Relaxed)).unwrap_or_default().checked_rem(count)?;
        let in_turn = self.targets.iter().cycle().skip(turn).take(count);
        let target = in_turn.filter(|target| eligible(target)).min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        Some(Choice { target: target.clone(), hash: None, set_cookie: None })
    }

    /// Rendezvous hashing: each target draws by hash of input and address, the longest draw wins. A target
    /// that comes or goes moves only its own share of the callers.
    fn by_hash(&self, exchange: &Exchange, eligible: impl Fn(&Target) -> bool) -> Option<Choice> {
        let (input, set_cookie) = match self.inputs.iter().find_map(|input| input.value(exchange)) {
            Some(value) => (value, None),
            None => self.new_cookie(exchange)?,
        };
        let draw = |target: &Target| {
            weighted::draw((&input, &target.destination.host, target.destination.port), f64::from(target.weight))
        };
        let targets = self.targets.iter().filter(|target| eligible(target));
        let target = targets.max_by(|a, b| draw(a).total_cmp(&draw(b)))?;
        Some(Choice { target: Arc::clone(target), hash: Some(weighted::hash(&input)), set_cookie })
    }

    /// Where nothing can be hashed: a cookie if one is configured, chance otherwise.
    fn new_cookie(&self, exchange: &Exchange) -> Option<(String, Option<HeaderValue>)> {
        let cookie = self.inputs.iter().find_map(|input| match input {
            HashInput::Cookie(name) => Some(name),
            _ => None,
        });
        let value = uuid::Uuid::new_v4().to_string();
        let header = cookie.and_then(|name| {
            let secure = if exchange.caller.secure { "; Secure" } else { "" };
            let path = &self.cookie_path;
            HeaderValue::try_from(format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax{secure}")).ok()
        });
        Some((value, header))
    }
}

fn weights(targets: &[Arc<Target>]) -> impl Iterator<Item = u64> {
    targets.iter().map(|target| target.weight.into())
}

impl Choice {
    /// Adds what the balancer has to tell the caller.
    pub fn write(&self, headers: &mut http::HeaderMap) {
        if let Some(cookie) = &self.set_cookie {
            headers.append(SET_COOKIE, cookie.clone());
        }
    }
}

impl Target {
    /// Counts a request as under way until the guard is dropped.
    pub fn occupy(self: &Arc<Target>) -> Occupied {
        self.active.fetch_add(1, Relaxed);
        Occupied(self.clone())
    }

    /// Takes a time to the first byte into the average, a quarter at a time.
    pub fn observe(&self, latency: Duration) {
        let new = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = self.latency_us.load(Relaxed);
        self.latency_us.store(if old == 0 { new } else { old - old / 4 + new / 4 }, Relaxed);
    }
}

/// A request under way at a target, or a tunnel to it.
pub struct Occupied(Arc<Target>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

impl HashInput {
    fn new(
        on: HashOn,
        header: &Option<String>,
        cookie: &Option<String>,
        argument: &Option<String>,
        capture: &Option<String>,
    ) -> HashInput {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match on {
            HashOn::None => HashInput::None,
            HashOn::Consumer => HashInput::Consumer,
            HashOn::Ip => HashInput::Ip,
            HashOn::Path => HashInput::Path,
            HashOn::Header => text(header).parse().map_or(HashInput::None, HashInput::Header),
            HashOn::Cookie => HashInput::Cookie(text(cookie)),
            HashOn::QueryArg => HashInput::Query(text(argument)),
            HashOn::UriCapture => HashInput::Capture(text(capture)),
        }
    }

    fn value(&self, exchange: &Exchange) -> Option<String> {
        let headers = &exchange.request.headers;
        match self {
            HashInput::None => None,
            HashInput::Consumer => {
                let identity = exchange.identity.as_ref()?;
                identity.consumer.as_ref().map(|consumer| consumer.id.to_string())
            }
            HashInput::Ip => Some(exchange.caller.ip.to_string()),
            HashInput::Path => Some(exchange.target.raw_path.clone()),
            HashInput::Header(name) => headers.get(name)?.to_str().ok().map(str::to_owned),
            HashInput::Cookie(name) => cookies(headers, name).into_iter().next(),
            HashInput::Query(name) => query::values(exchange.target.query.as_deref()?, name).next(),
            HashInput::Capture(name) => {
                let mut captures = exchange.target.captures.iter();
                captures.find(|(key, _)| key == name).map(|(_, value)| value.clone())
            }
        }
    }
}

/// Every value of a cookie (RFC 6265 section 4.2): services differ in which of several they take.
pub fn cookies(headers: &http::HeaderMap, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in headers.get_all(COOKIE) {
        let line = fields::text(line.as_bytes());
        let pairs = line.split(';').filter_map(|pair| pair.trim_ascii().split_once('='));
        found.extend(pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()));
    }
    found
}
