//! Where the names of services lead: TTL, several addresses, SRV, name servers that fail, the hosts file.

use std::collections::BTreeMap;
use tests::{DEADLINE, Gate, GateBuilder, NameServer, Origin, Reply, TempDir, eventually};

fn answering(name: &'static str) -> Origin {
    Origin::answering(move |_| Reply::new(200, name))
}

/// Two origins behind the same port, at 127.0.0.1 and 127.0.0.2.
fn two_on_one_port() -> (Origin, Origin, u16) {
    let first = answering("first");
    let port = first.address().port();
    let second = Origin::at(&format!("127.0.0.2:{port}"), |_| Reply::new(200, "second"));
    (first, second, port)
}

fn gate(host: &str, port: u16, server: &str) -> GateBuilder {
    Gate::with(format!(
        "_format_version: \"3.0\"
services:
- name: web
  host: {host}
  port: {port}
  retries: 0
  routes: [{{name: web, paths: [/]}}]"
    ))
    .env("KONG_DNS_RESOLVER", server)
    .env("KONG_DNS_NOT_FOUND_TTL", "1")
    .env("PORTCULLIS_WORKERS", "1")
}

/// How many of `count` requests each origin answered.
fn shares(gate: &Gate, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(gate.get("/").expect_status(200).text()).or_default() += 1;
    }
    shares
}

fn expected<const N: usize>(shares: [(&str, usize); N]) -> BTreeMap<String, usize> {
    shares.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn a_name_is_looked_up_again_when_its_ttl_is_over() {
    let (_first, _second, port) = two_on_one_port();
    let mut server = NameServer::start(&["host-record=web.test,127.0.0.1,1"]);
    let gate = gate("web.test", port, &server.address()).start();
    assert_eq!(shares(&gate, 3), expected([("first", 3)]));
    server.restart(&["host-record=web.test,127.0.0.2,3600"]);
    eventually(DEADLINE, || match gate.get("/").expect_status(200).text() {
        answer if answer == "second" => Ok(()),
        answer => Err(answer),
    });
    // An hour is an hour: what the server knows by now does not matter.
    server.restart(&["host-record=web.test,127.0.0.1,1"]);
    assert_eq!(shares(&gate, 3), expected([("second", 3)]));
    assert!(!server.log().contains("web.test"), "{}", server.log());
}

#[test]
fn the_addresses_of_a_name_take_turns_over_kept_connections() {
    let (first, second, port) = two_on_one_port();
    let server = NameServer::start(&["host-record=web.test,127.0.0.1,60", "host-record=web.test,127.0.0.2,60"]);
    let gate = gate("web.test", port, &server.address()).start();
    assert_eq!(shares(&gate, 20), expected([("first", 10), ("second", 10)]));
    for origin in [&first, &second] {
        assert!(origin.requests().iter().all(|request| request.connection == 0), "each has one connection");
    }
    drop(second);
    assert_eq!(shares(&gate, 10), expected([("first", 10)]));
}

#[test]
fn srv_records_give_ports_weights_and_priorities() {
    let (light, heavy, spare) = (answering("light"), answering("heavy"), answering("spare"));
    let record = |origin: &Origin, priority: u16, weight: u16| {
        format!("srv-host=_http._tcp.web.test,host.test,{},{priority},{weight}", origin.address().port())
    };
    let records = [
        "host-record=host.test,127.0.0.1".to_owned(),
        record(&light, 1, 10),
        record(&heavy, 1, 30),
        record(&spare, 2, 1000),
    ];
    let server = NameServer::start(&records.each_ref().map(String::as_str));
    let gate = gate("_http._tcp.web.test", 9, &server.address()).start();
    assert_eq!(shares(&gate, 40), expected([("light", 10), ("heavy", 30)]));
    drop((light, heavy));
    assert_eq!(shares(&gate, 5), expected([("spare", 5)]));
}

#[test]
fn a_hash_keeps_to_one_address_of_a_name() {
    let (_first, _second, port) = two_on_one_port();
    let server = NameServer::start(&["host-record=web.test,127.0.0.1,60", "host-record=web.test,127.0.0.2,60"]);
    let gate = Gate::with(format!(
        "_format_version: \"3.0\"
services:
- name: web
  host: webs
  routes: [{{name: web, paths: [/]}}]
upstreams:
- name: webs
  hash_on: header
  hash_on_header: x-customer
  targets: [{{target: 'web.test:{port}'}}]"
    ))
    .env("KONG_DNS_RESOLVER", &server.address())
    .start();
    let mut seen = BTreeMap::new();
    for customer in 0..20 {
        let ask = || {
            let customer = customer.to_string();
            tests::http(gate.proxy(), "GET", "/", &[("x-customer", &customer)], b"").expect_status(200).text()
        };
        let answer = ask();
        (0..3).for_each(|_| assert_eq!(ask(), answer, "customer {customer}"));
        *seen.entry(answer).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_name_server_that_fails_does_not_stop_what_is_known() {
    let origin = answering("here");
    let mut server = NameServer::start(&["host-record=web.test,127.0.0.1,1"]);
    let gate = gate("web.test", origin.address().port(), &server.address()).start();
    assert_eq!(shares(&gate, 1), expected([("here", 1)]));
    server.refuse();
    eventually(DEADLINE, || {
        gate.get("/").expect_status(200);
        let said = gate.said();
        if said.contains("its last addresses stand") { Ok(()) } else { Err(said) }
    });
    assert_eq!(shares(&gate, 5), expected([("here", 5)]));
}

#[test]
fn what_is_not_there_is_a_503_until_it_is_there() {
    let origin = answering("here");
    let mut server = NameServer::start(&[]);
    let gate = gate("web.test", origin.address().port(), &server.address()).start();
    assert!(gate.get("/").expect_status(503).text().contains("name resolution failed"));
    server.restart(&["host-record=web.test,127.0.0.1,60"]);
    eventually(DEADLINE, || match gate.get("/").status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn a_reload_reads_the_hosts_file_and_the_name_servers_again() {
    let (_first, _second, port) = two_on_one_port();
    let server = NameServer::start(&["host-record=web.test,127.0.0.2,3600"]);
    let dir = TempDir::new();
    let hosts = dir.write("hosts", "127.0.0.1 web.test # not asked for\n");
    let gate = gate("web.test", port, &server.address()).env("KONG_DNS_HOSTSFILE", hosts.to_str().unwrap()).start();
    assert_eq!(shares(&gate, 3), expected([("first", 3)]));
    dir.write("hosts", "");
    gate.tell(&["reload"]).expect_code(0);
    eventually(DEADLINE, || match gate.get("/").expect_status(200).text() {
        answer if answer == "second" => Ok(()),
        answer => Err(answer),
    });
}

#[test]
fn the_order_of_the_record_types_can_be_chosen() {
    let (by_address, by_service) = (answering("by address"), answering("by service"));
    let service = format!("srv-host=web.test,host.test,{}", by_service.address().port());
    let server = NameServer::start(&["host-record=web.test,127.0.0.1", "host-record=host.test,127.0.0.1", &service]);
    for (order, answer) in [("SRV,A", "by service"), ("A,SRV", "by address")] {
        let gate = gate("web.test", by_address.address().port(), &server.address()).env("KONG_DNS_ORDER", order);
        assert_eq!(shares(&gate.start(), 2), expected([(answer, 2)]), "{order}");
    }
}

#[test]
fn many_who_ask_at_once_cause_one_question() {
    let origin = answering("here");
    let server = NameServer::start(&["host-record=web.test,127.0.0.1,60"]);
    let gate = gate("web.test", origin.address().port(), &server.address()).env("PORTCULLIS_WORKERS", "2").start();
    std::thread::scope(|scope| {
        (0..20).for_each(|_| drop(scope.spawn(|| gate.get("/").expect_status(200))));
    });
    assert_eq!(server.log().matches("query[A] web.test").count(), 1, "{}", server.log());
}

#[test]
fn the_second_server_is_asked_where_the_first_does_not_know_better() {
    let origin = answering("here");
    let (mut refusing, knowing) = (NameServer::start(&[]), NameServer::start(&["host-record=web.test,127.0.0.1,60"]));
    refusing.refuse();
    let servers = format!("{}, {}", refusing.address(), knowing.address());
    assert_eq!(shares(&gate("web.test", origin.address().port(), &servers).start(), 2), expected([("here", 2)]));
    // The first one that does answer is believed.
    let empty = NameServer::start(&[]);
    let servers = format!("{}, {}", empty.address(), knowing.address());
    gate("web.test", origin.address().port(), &servers).start().get("/").expect_status(503);
}

#[test]
fn a_kept_connection_outlives_the_ttl_of_its_name() {
    let origin = answering("here");
    let server = NameServer::start(&["host-record=web.test,127.0.0.1,1"]);
    let gate = gate("web.test", origin.address().port(), &server.address()).start();
    eventually(DEADLINE, || {
        gate.get("/").expect_status(200);
        let asked = server.log().matches("query[A] web.test").count();
        if asked >= 3 { Ok(()) } else { Err(format!("asked {asked} times")) }
    });
    assert!(origin.requests().iter().all(|request| request.connection == 0));
}
