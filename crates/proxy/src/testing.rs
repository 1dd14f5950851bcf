//! For tests of plugins: an exchange without a connection.

use crate::body::Body;
use crate::conduct::Conduct;
use crate::exchange::{Caller, Exchange};
use crate::plan::{DefaultCertificate, Plan, Workshop};
use crate::plugin::Definition;
use model::Configuration;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The plan of a configuration that is known to be good.
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set up has failed")]
pub fn plan(configuration: Configuration, plugins: &'static [Definition]) -> Arc<Plan> {
    let (cert, key) = net::certificate::self_signed(&["localhost"]).unwrap();
    let workshop = Workshop {
        plugins,
        default_certificate: DefaultCertificate(net::certificate::parse(&cert, &key).unwrap()),
        session_tickets: true,
        upstream_tls: Arc::default(),
        authorities: None,
        fetcher: Arc::new(net::fetch::Fetcher::nowhere()),
    };
    match workshop.compile(Arc::new(configuration), 0) {
        Ok(plan) => Arc::new(plan),
        Err(invalid) => panic!("{}", invalid.fields()),
    }
}

/// A request from loopback over plain HTTP.
pub fn exchange(request: http::request::Parts, body: Body, plan: Arc<Plan>) -> Exchange {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let caller = Caller {
        peer: (address, 50_000).into(),
        peer_header: http::HeaderValue::from_static("127.0.0.1"),
        ip: address,
        trusted: false,
        secure: false,
        port: 8000,
        server_name: None,
        certificate: None,
        connection: 1,
        request_on_connection: 1,
    };
    Exchange::new(request, body, caller, plan, Arc::new(Conduct::default()))
}
