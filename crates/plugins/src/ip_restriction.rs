//! Lets callers in, or keeps them out, by their address.

use http::StatusCode;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::plugin::{Plugin, Verdict};
use schema::{Check, Schema, Violations};
use serde::Deserialize;
use std::net::IpAddr;
use std::ops::ControlFlow;

/// Lets callers in, or keeps them out, by their address: the one that `real_ip_header` and `trusted_ips` make out.
#[derive(Deserialize, Schema)]
#[schema(check(Check::AtLeastOneOf(&["allow", "deny"])))]
pub struct Config {
    /// Addresses and CIDR blocks of which a caller must be one. Who is in `deny` too is kept out.
    #[schema(each(format(network)))]
    allow: Option<Vec<String>>,
    /// Addresses and CIDR blocks that are kept out.
    #[schema(each(format(network)))]
    deny: Option<Vec<String>>,
    /// The status of the refusal, in place of 403.
    status: Option<f64>,
    /// The text of the refusal.
    message: Option<String>,
}

pub struct IpRestriction {
    allow: Vec<Network>,
    deny: Vec<Network>,
    status: StatusCode,
    message: Option<String>,
}

/// The addresses of one family that begin like this one.
struct Network {
    v4: bool,
    address: u128,
    mask: u128,
}

impl Plugin for IpRestriction {
    const NAME: &'static str = "ip-restriction";
    const PRIORITY: i32 = 990;
    const STREAM_TOO: bool = true;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let networks = |texts: Option<Vec<String>>| -> Vec<Network> {
            texts.unwrap_or_default().iter().filter_map(|text| Network::of(text)).collect()
        };
        let status = match config.status {
            None => StatusCode::FORBIDDEN,
            Some(status) => {
                crate::status(status).ok_or_else(|| Violations::field("status", "this is no HTTP status"))?
            }
        };
        let (allow, deny) = (networks(config.allow), networks(config.deny));
        Ok(IpRestriction { allow, deny, status, message: config.message })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let ip = exchange.caller.ip;
        let among = |networks: &[Network]| networks.iter().any(|network| network.holds(ip));
        if among(&self.deny) || !self.allow.is_empty() && !among(&self.allow) {
            let message = self.message.clone().unwrap_or_else(|| format!("IP address not allowed: {ip}"));
            return Ok(ControlFlow::Break(Answer::error(self.status, message)));
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Network {
    fn of(text: &str) -> Option<Network> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let ip: IpAddr = address.parse().ok()?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let length: u32 = if length.is_empty() && !text.contains('/') { bits } else { length.parse().ok()? };
        // Within the wide form an IPv4 address is the last 32 bits.
        let mask = u128::MAX.checked_shl(bits.checked_sub(length)?).unwrap_or(0);
        Some(Network { v4: ip.to_canonical().is_ipv4(), address: wide(ip) & mask, mask })
    }

    /// `::/0` is every address of IPv6, and none of IPv4.
    fn holds(&self, ip: IpAddr) -> bool {
        self.v4 == ip.to_canonical().is_ipv4() && wide(ip) & self.mask == self.address
    }
}

/// An address as IPv6, so that `::ffff:192.0.2.1` is the same caller as `192.0.2.1`.
fn wide(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn network(text: &str) -> Result<(), String> {
    Network::of(text).map(drop).ok_or_else(|| format!("invalid ip or cidr range: '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;
    use schema::json;

    fn matches(network: &str, ip: &str) -> bool {
        Network::of(network).unwrap().holds(ip.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.9/31", "192.0.2.8", "192.0.2.10"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "2001:db8::1"),
        ] {
            assert!(matches(network, inside), "{network} {inside}");
            assert!(!matches(network, outside), "{network} {outside}");
        }
        for odd in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "::/129", "localhost", "10.0.0.0/-1"] {
            assert_eq!(network(odd), Err(format!("invalid ip or cidr range: '{odd}'")));
        }
    }

    #[tokio::test]
    async fn callers_are_told_apart_by_address() {
        let refused = "403 {\"message\":\"IP address not allowed: 127.0.0.1\"}";
        check("ip-restriction", json!({"deny": ["127.0.0.0/24"]}), &[], refused).await;
        check("ip-restriction", json!({"allow": ["10.0.0.0/8"]}), &[], refused).await;
        check("ip-restriction", json!({"allow": ["127.0.0.1"], "deny": ["10.0.0.0/8"]}), &[], "service").await;
        check("ip-restriction", json!({"allow": ["127.0.0.1"], "deny": ["127.0.0.1"]}), &[], refused).await;
        let own = json!({"deny": ["127.0.0.1"], "status": 405, "message": "Forbidden area"});
        check("ip-restriction", own, &[], "405 {\"message\":\"Forbidden area\"}").await;
    }

    #[tokio::test]
    async fn what_restricts_nothing_is_refused() {
        let neither =
            r#"{"@entity":["at least one of these fields must be non-empty: 'config.allow', 'config.deny'"]}"#;
        check("ip-restriction", json!({}), &[], neither).await;
        let odd = r#"{"allow":["invalid ip or cidr range: 'x'"]}"#;
        check("ip-restriction", json!({"allow": ["x"]}), &[], odd).await;
        check("ip-restriction", json!({"deny": ["::1"], "status": 42}), &[], r#"{"status":"this is no HTTP status"}"#)
            .await;
    }
}
