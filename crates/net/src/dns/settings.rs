//! How names are looked up: Kong's `dns_*` settings.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Who is asked for names, for what, and how long the answers are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers that are asked, one after the other; none means those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// The file whose names are not asked for.
    pub hosts_file: PathBuf,
    /// The record types, in the order in which they are asked for.
    pub order: Order,
    /// How long an answer is believed, in place of its own TTL.
    pub valid_ttl: Option<Duration>,
    /// How long an answer may be used after its time, while it cannot be renewed.
    pub stale_ttl: Duration,
    /// How long it is believed that there is no such name.
    pub not_found_ttl: Duration,
    /// How long nothing is asked after a failure.
    pub error_ttl: Duration,
    /// How many names are remembered.
    pub cache_size: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: Vec::new(),
            hosts_file: "/etc/hosts".into(),
            order: Order::default(),
            valid_ttl: None,
            stale_ttl: Duration::from_secs(3600),
            not_found_ttl: Duration::from_secs(30),
            error_ttl: Duration::from_secs(1),
            cache_size: 10_000,
        }
    }
}

/// A type of record that leads to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Srv,
    A,
    Aaaa,
}

/// In which order a name is asked for its records, as Kong writes it: `LAST,SRV,A,AAAA,CNAME`.
///
/// `LAST` is the type that answered the last time. `CNAME` may stand in the list; aliases are followed in any
/// case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    last_first: bool,
    kinds: Vec<Kind>,
}

impl Default for Order {
    fn default() -> Order {
        Order { last_first: true, kinds: vec![Kind::Srv, Kind::A, Kind::Aaaa] }
    }
}

impl Order {
    /// The types to ask for, each once, where `last` answered before.
    pub(super) fn after(&self, last: Option<Kind>) -> Vec<Kind> {
        let first = last.filter(|last| self.last_first && self.kinds.contains(last));
        let others = self.kinds.iter().copied().filter(|kind| Some(*kind) != first);
        first.into_iter().chain(others).collect()
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Order, String> {
        let mut order = Order { last_first: false, kinds: Vec::new() };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let kind = match word.to_ascii_uppercase().as_str() {
                "LAST" => {
                    order.last_first = true;
                    continue;
                }
                "CNAME" => continue,
                "SRV" => Kind::Srv,
                "A" => Kind::A,
                "AAAA" => Kind::Aaaa,
                _ => return Err(format!("{word:?} is none of LAST, SRV, A, AAAA, CNAME")),
            };
            if order.kinds.contains(&kind) {
                return Err(format!("{word:?} stands there twice"));
            }
            order.kinds.push(kind);
        }
        match order.kinds.is_empty() {
            true => Err("it names no type of record with addresses; write at least SRV, A or AAAA".to_owned()),
            false => Ok(order),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let last = self.last_first.then_some("LAST");
        let kinds = self.kinds.iter().map(|kind| match kind {
            Kind::Srv => "SRV",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
        });
        f.write_str(&last.into_iter().chain(kinds).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        for (text, expected) in [
            ("LAST,SRV,A,CNAME", "LAST,SRV,A"),
            ("a, aaaa", "A,AAAA"),
            ("LAST,SRV,A,AAAA,CNAME", &Order::default().to_string()),
            ("A,MX", "\"MX\" is none of LAST, SRV, A, AAAA, CNAME"),
            ("A,SRV,A", "\"A\" stands there twice"),
            ("LAST,CNAME", "it names no type"),
            ("", "it names no type"),
        ] {
            let read = text.parse::<Order>().map_or_else(|error| error, |order| order.to_string());
            assert!(read.starts_with(expected), "{text}: {read}");
        }
    }

    #[test]
    fn what_answered_last_is_asked_for_first() {
        let order: Order = "LAST,SRV,A".parse().unwrap();
        assert_eq!(order.after(Some(Kind::A)), [Kind::A, Kind::Srv]);
        assert_eq!(order.after(Some(Kind::Aaaa)), [Kind::Srv, Kind::A]);
        let order: Order = "SRV,A".parse().unwrap();
        assert_eq!(order.after(Some(Kind::A)), [Kind::Srv, Kind::A]);
    }
}
