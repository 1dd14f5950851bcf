//! The line with which the gate says where it listens.

use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub proxy: SocketAddr,
    pub proxy_tls: SocketAddr,
    pub admin: SocketAddr,
}

impl Addresses {
    /// Reads `ready proxy=http://A,https://B admin=http://C`.
    pub fn parse(line: &str) -> Result<Addresses, String> {
        let refused = || format!("not the promised form: {line:?}");
        let rest = line.trim_end().strip_prefix("ready proxy=").ok_or_else(refused)?;
        let (proxy, admin) = rest.split_once(" admin=").ok_or_else(refused)?;
        let find = |list: &str, scheme: &str| {
            list.split(',').find_map(|url| url.strip_prefix(scheme)?.parse().ok()).ok_or_else(refused)
        };
        Ok(Addresses {
            proxy: find(proxy, "http://")?,
            proxy_tls: find(proxy, "https://")?,
            admin: find(admin, "http://")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line() {
        let read = Addresses::parse("ready proxy=http://127.0.0.1:1,https://127.0.0.1:2 admin=http://127.0.0.1:3");
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(read, Ok(Addresses { proxy: address(1), proxy_tls: address(2), admin: address(3) }));
        assert!(Addresses::parse("ready").is_err());
        assert!(Addresses::parse("ready proxy=http://127.0.0.1:1 admin=http://127.0.0.1:3").is_err());
    }
}
