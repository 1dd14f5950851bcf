//! Whose use is counted.

use http::HeaderName;
use proxy::Exchange;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use uuid::Uuid;

/// One whose use is counted apart from others'.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Consumer(Uuid),
    /// What a caller sends is hashed: however long it is, it takes little memory.
    Credential([u8; 16]),
    /// An address, or an IPv6 network of 64 bits: whoever has one address there has them all.
    Address(IpAddr),
    Service(Uuid),
    Header([u8; 16]),
    /// Everybody who asks for the one path.
    Path,
    /// Whoever tries passwords out, for one name from one place.
    Guessing([u8; 16]),
}

impl Who {
    pub fn guessing(exchange: &Exchange, username: &str) -> Who {
        let place = network(exchange.caller.ip);
        Who::Guessing(hash(format!("{place} {username}").as_bytes()))
    }
}

/// What they are told apart by.
#[derive(Clone, Debug)]
pub enum By {
    Consumer,
    Credential,
    Address,
    Service,
    Header(HeaderName),
    Path(String),
}

impl By {
    /// Whose request this is. Where it does not say, as in Kong, its address does.
    pub fn who(&self, exchange: &Exchange) -> Who {
        let found = match self {
            By::Address => None,
            By::Consumer => consumer(exchange).or_else(|| credential(exchange)),
            By::Credential => credential(exchange),
            By::Service => {
                let service = exchange.route().and_then(|route| route.service.as_ref());
                service.map(|service| Who::Service(service.id))
            }
            By::Header(name) => exchange.request.headers.get(name).map(|value| Who::Header(hash(value.as_bytes()))),
            By::Path(path) => (router::normalize(&exchange.target.raw_path) == path.as_str()).then_some(Who::Path),
        };
        found.unwrap_or_else(|| Who::Address(network(exchange.caller.ip)))
    }
}

fn consumer(exchange: &Exchange) -> Option<Who> {
    exchange.identity.as_ref()?.consumer.as_ref().map(|consumer| Who::Consumer(consumer.id))
}

fn credential(exchange: &Exchange) -> Option<Who> {
    let credential = exchange.identity.as_ref()?.credential.as_ref()?;
    Some(Who::Credential(hash(credential.identifier.as_bytes())))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64).into(),
        address => address,
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Who::Consumer(id) => write!(f, "consumer:{id}"),
            Who::Service(id) => write!(f, "service:{id}"),
            Who::Address(address) => write!(f, "ip:{address}"),
            Who::Path => f.write_str("path"),
            Who::Credential(hash) => write!(f, "credential:{}", hex(hash)),
            Who::Guessing(hash) => write!(f, "guessing:{}", hex(hash)),
            Who::Header(hash) => write!(f, "header:{}", hex(hash)),
        }
    }
}

fn hash(text: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&jose::digest::sha256(text)[..16]);
    short
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_one_caller() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
