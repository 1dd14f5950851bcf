//! Who the caller really is when trusted proxies stand in front: Kong's `trusted_ips`, `real_ip_header`
//! and `real_ip_recursive`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses whose word about others is believed.
///
/// IPv4-mapped IPv6 addresses (`::ffff:10.0.0.1`, what a dual-stack listener sees) count as IPv4. As in
/// nginx, `0.0.0.0/0` means every IPv4 address and `::/0` every IPv6 address; for all, write both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    /// Sorted and disjoint, so that a binary search finds the only candidate.
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

/// Which request header carries the caller's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RealIpHeader {
    /// `X-Real-IP`: one address.
    #[default]
    XRealIp,
    /// `X-Forwarded-For`: a list to which each proxy appends the address it saw.
    XForwardedFor,
}

/// Why a setting about trusted addresses cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedError {
    /// Neither an address nor a range.
    #[error("trusted_ips: \"{entry}\" is neither an IP address nor a range such as 10.0.0.0/8 or fd00::/8")]
    Entry {
        /// The entry, as written.
        entry: String,
    },
    /// `unix:`.
    #[error("trusted_ips: \"{entry}\": unix sockets are not supported; remove it")]
    UnixSocket {
        /// The entry, as written.
        entry: String,
    },
    /// Another header than the two.
    #[error("real_ip_header: \"{name}\" is not supported; write X-Real-IP or X-Forwarded-For")]
    Header {
        /// The name, as written.
        name: String,
    },
}

impl TrustedPeers {
    /// Whether the word of this address is believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let after = self.v4.partition_point(|net| net.network() <= address);
                self.v4[..after].last().is_some_and(|net| net.contains(&address))
            }
            IpAddr::V6(address) => {
                let after = self.v6.partition_point(|net| net.network() <= address);
                self.v6[..after].last().is_some_and(|net| net.contains(&address))
            }
        }
    }

    /// The address of the caller, as the nginx realip module finds it.
    ///
    /// Only a trusted `peer` is listened to. `X-Forwarded-For` is read from its end, where the nearest
    /// proxy wrote: the last address, or with `recursive` the last one that is not trusted itself (the
    /// first of the list if all are). What stands before that is the caller's own invention. Reading
    /// stops at a value that is no address: nothing to the left of it can be vouched for.
    ///
    /// Stricter than nginx in one point: with several `X-Real-IP` headers it is unclear which one the
    /// trusted proxy set, so none is believed.
    pub fn real_ip(&self, peer: IpAddr, headers: &HeaderMap, header: RealIpHeader, recursive: bool) -> IpAddr {
        let peer = peer.to_canonical();
        let values = headers.get_all(header.name());
        let several = values.iter().nth(1).is_some();
        if !self.contains(peer) || (header == RealIpHeader::XRealIp && several) {
            return peer;
        }
        let mut caller = peer;
        for value in values.iter().rev() {
            let words = value.as_bytes().rsplit(|byte| matches!(byte, b',' | b' ' | b'\t'));
            let mut words = words.filter(|word| !word.is_empty()).peekable();
            if words.peek().is_none() {
                return caller;
            }
            for word in words {
                let Some(address) = parse_address(word) else {
                    return caller;
                };
                caller = address;
                if !recursive || !self.contains(caller) {
                    return caller;
                }
            }
        }
        caller
    }

    fn from_nets(nets: Vec<IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(net.trunc()),
                IpNet::V6(net) => match net.addr().to_ipv4_mapped() {
                    Some(address) if net.prefix_len() >= 96 => {
                        v4.extend(Ipv4Net::new(address, net.prefix_len() - 96).map(|net| net.trunc()));
                    }
                    _ => v6.push(net.trunc()),
                },
            }
        }
        Self { v4: Ipv4Net::aggregate(&v4), v6: Ipv6Net::aggregate(&v6) }
    }
}

impl FromStr for TrustedPeers {
    type Err = TrustedError;

    /// Reads a comma-separated list of addresses and ranges; empty trusts nobody.
    fn from_str(text: &str) -> Result<Self, TrustedError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|entry| parse_entry(entry.trim())).collect::<Result<_, _>>().map(Self::from_nets)
    }
}

fn parse_entry(entry: &str) -> Result<IpNet, TrustedError> {
    if entry.starts_with("unix:") {
        return Err(TrustedError::UnixSocket { entry: entry.to_owned() });
    }
    entry
        .parse::<IpNet>()
        .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| TrustedError::Entry { entry: entry.to_owned() })
}

/// An address with or without a port, IPv6 with or without brackets.
fn parse_address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address: Option<IpAddr> = text.parse().ok();
    address
        .or_else(|| text.parse().ok().map(|addr: SocketAddr| addr.ip()))
        .or_else(bracketed)
        .map(|address| address.to_canonical())
}

impl RealIpHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XRealIp => HeaderName::from_static("x-real-ip"),
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        }
    }
}

impl FromStr for RealIpHeader {
    type Err = TrustedError;

    fn from_str(text: &str) -> Result<Self, TrustedError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "x-real-ip" => Ok(Self::XRealIp),
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            _ => Err(TrustedError::Header { name: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RealIpHeader::{XForwardedFor, XRealIp};

    fn check_trust(trusted: &str, address: &str, expect: bool) {
        let peers: TrustedPeers = trusted.parse().unwrap();
        assert_eq!(peers.contains(address.parse().unwrap()), expect, "{address} in {trusted:?}");
    }

    #[test]
    fn trust() {
        check_trust("", "127.0.0.1", false);
        check_trust("127.0.0.1", "127.0.0.1", true);
        check_trust("127.0.0.1", "127.0.0.2", false);
        check_trust("10.1.2.3/8", "10.255.0.1", true);
        check_trust("10.0.0.0/8,10.1.0.0/16, 192.168.0.0/16", "10.2.0.1", true);
        check_trust("10.0.0.0/8,10.1.0.0/16, 192.168.0.0/16", "11.0.0.1", false);
        check_trust("10.0.0.0/8, 192.168.0.0/16", "192.168.255.255", true);
        check_trust("fd00::/8,::1", "fdff::1", true);
        check_trust("fd00::/8,::1", "::2", false);
        check_trust("0.0.0.0/0", "8.8.8.8", true);
        check_trust("0.0.0.0/0", "::1", false);
        check_trust("::/0", "2001:db8::1", true);
        // A dual-stack listener shows IPv4 callers as mapped addresses: `::/0` must not take them in.
        check_trust("::/0", "::ffff:8.8.8.8", false);
        check_trust("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check_trust("::ffff:10.0.0.0/104", "10.9.9.9", true);
        check_trust("::ffff:10.0.0.1", "10.0.0.1", true);
        check_trust("::ffff:10.0.0.1", "10.0.0.2", false);
    }

    #[test]
    fn refusals() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<TrustedPeers>().unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("unix:", "unix sockets are not supported");
        check("10.0.0.0/33", "\"10.0.0.0/33\" is neither");
        check("10.0.0.0/8,", "\"\" is neither");
        check("localhost", "\"localhost\" is neither");
        assert!("proxy_protocol".parse::<RealIpHeader>().is_err());
        assert_eq!("X-Forwarded-For".parse(), Ok(XForwardedFor));
    }

    fn check(peer: &str, header: RealIpHeader, recursive: bool, values: &[&str], expect: &str) {
        let trusted: TrustedPeers = "10.0.0.0/8,fd00::/8".parse().unwrap();
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header.name(), value.parse().unwrap());
        }
        let found = trusted.real_ip(peer.parse().unwrap(), &headers, header, recursive);
        assert_eq!(found, expect.parse::<IpAddr>().unwrap(), "{values:?}");
    }

    #[test]
    fn x_real_ip() {
        check("10.0.0.1", XRealIp, false, &[], "10.0.0.1");
        check("10.0.0.1", XRealIp, false, &["1.2.3.4"], "1.2.3.4");
        check("::ffff:10.0.0.1", XRealIp, false, &["1.2.3.4"], "1.2.3.4");
        check("10.0.0.1", XRealIp, false, &["[2001:db8::1]:443"], "2001:db8::1");
        check("10.0.0.1", XRealIp, false, &["nonsense"], "10.0.0.1");
        // A caller who is nobody's proxy claims to be localhost.
        check("9.9.9.9", XRealIp, false, &["127.0.0.1"], "9.9.9.9");
        // The caller sends the header too, hoping that the first one counts.
        check("10.0.0.1", XRealIp, false, &["127.0.0.1", "1.2.3.4"], "10.0.0.1");
    }

    #[test]
    fn x_forwarded_for() {
        check("10.0.0.1", XForwardedFor, false, &["1.1.1.1, 2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", XForwardedFor, false, &["1.1.1.1", "2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", XForwardedFor, false, &["1.1.1.1, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", XForwardedFor, false, &["1.1.1.1:80 , "], "1.1.1.1");
        check("10.0.0.1", XForwardedFor, false, &["1.1.1.1, unknown"], "10.0.0.1");
        check("10.0.0.1", XForwardedFor, false, &["1.1.1.1", ""], "10.0.0.1");
        check("9.9.9.9", XForwardedFor, true, &["1.1.1.1"], "9.9.9.9");
    }

    #[test]
    fn x_forwarded_for_recursive() {
        check("10.0.0.1", XForwardedFor, true, &["2.2.2.2, 10.0.0.3, 10.0.0.2"], "2.2.2.2");
        check("10.0.0.1", XForwardedFor, true, &["2.2.2.2, 10.0.0.3", "10.0.0.2"], "2.2.2.2");
        // The caller puts the address it wants to have in front; the proxies append the true one.
        check("10.0.0.1", XForwardedFor, true, &["127.0.0.1, 2.2.2.2, 10.0.0.2"], "2.2.2.2");
        check("10.0.0.1", XForwardedFor, true, &["10.7.7.7, 2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", XForwardedFor, true, &["10.0.0.3,fd00::2"], "10.0.0.3");
        check("10.0.0.1", XForwardedFor, true, &["1.1.1.1, garbage, 10.0.0.2"], "10.0.0.2");
    }
}
