//! rate-limiting and response-ratelimiting: counted exactly, in the gate and in a real Redis.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::{Answer, Authority, DEADLINE, Gate, GateBuilder, Origin, Recorded, Redis, Reply, Wire, eventually, http};

/// A gate with one plugin on everything.
fn with(service: &Origin, plugin: &str, config: &str) -> GateBuilder {
    Gate::with(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes: [{{name: shop, paths: [/]}}]
plugins:
- name: {plugin}
  config: {config}",
        service.url()
    ))
}

fn limited(service: &Origin, config: &str) -> Gate {
    with(service, "rate-limiting", config).start()
}

fn ask(gate: &Gate) -> Answer {
    http(gate.proxy(), "GET", "/", &[], b"")
}

/// How many of these get through, asked for over eight connections at once.
fn passed(gates: &[&Gate], requests: usize, field: &str) -> usize {
    let passed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..8 {
            let (gate, passed) = (gates[number % gates.len()], &passed);
            scope.spawn(move || {
                let mut wire = Wire::connect(gate.proxy());
                for _ in 0..requests / 8 {
                    wire.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Who: {field}\r\n\r\n"));
                    match wire.answer().status {
                        200 => drop(passed.fetch_add(1, Ordering::Relaxed)),
                        429 => {}
                        status => panic!("{status}"),
                    }
                }
            });
        }
    });
    passed.load(Ordering::Relaxed)
}

#[test]
fn counts_are_exact_and_outlive_a_new_configuration() {
    let service = Origin::start();
    let gate = limited(&service, "{hour: 101, limit_by: ip}");
    assert_eq!(passed(&[&gate], 400, ""), 101);
    assert_eq!(service.requests().len(), 101);
    gate.tell(&["reload"]).expect_code(0);
    ask(&gate).expect_status(429);
}

#[test]
fn callers_are_told_what_is_left() {
    let service = Origin::start();
    let gate = limited(&service, "{hour: 2, day: 10}");
    let first = ask(&gate).expect_status(200);
    for (name, value) in [
        ("x-ratelimit-limit-hour", "2"),
        ("x-ratelimit-remaining-hour", "1"),
        ("x-ratelimit-limit-day", "10"),
        ("x-ratelimit-remaining-day", "9"),
        ("ratelimit-limit", "2"),
        ("ratelimit-remaining", "1"),
        ("ratelimit-policy", "\"hour\";q=2;w=3600, \"day\";q=10;w=86400"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    let reset: u64 = first.header("ratelimit-reset").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&reset), "{reset}");
    assert_eq!(first.header("ratelimit").unwrap(), format!("\"hour\";r=1;t={reset}"));
    assert_eq!(first.header("retry-after"), None);
    ask(&gate).expect_status(200);
    let refused = ask(&gate).expect_status(429);
    assert_eq!(refused.json()["message"], "API rate limit exceeded");
    assert_eq!(refused.header("x-ratelimit-remaining-hour"), Some("0"));
    assert_eq!(refused.header("x-ratelimit-remaining-day"), Some("8"), "what is refused counts nowhere");
    assert_eq!(refused.header("retry-after"), refused.header("ratelimit-reset"));

    let own = "{hour: 1, hide_client_headers: true, error_code: 418, error_message: 'Enough, please'}";
    let gate = limited(&service, own);
    assert_eq!(ask(&gate).expect_status(200).header("ratelimit-limit"), None);
    let refused = ask(&gate).expect_status(418);
    assert_eq!((refused.json()["message"].as_str(), refused.header("retry-after")), (Some("Enough, please"), None));
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let service = Origin::start();
    for (config, reason) in [
        ("{}", "at least one of these fields must be non-empty"),
        ("{hour: 5, minute: 10}", "The limit for hour(5.0) cannot be lower than the limit for minute(10.0)"),
        ("{hour: 5, policy: cluster}", "counts are not kept in a database"),
        ("{hour: 5, policy: redis}", "required field missing"),
        ("{hour: 5, limit_by: header}", "required field missing"),
        ("{hour: 5, policy: redis, redis: {host: h, sentinel_nodes: [{host: h}]}}", "give one of"),
        ("{hour: 5, policy: redis, sync_rate: 0, redis: {host: h}}", "give -1, or"),
        ("{hour: 5, redis_host: a, redis: {host: b}}", "old name of redis.host"),
    ] {
        let refused = with(&service, "rate-limiting", config).refuse();
        assert!(refused.stderr.contains(reason), "{config}\n{}", refused.stderr);
    }
}

fn in_redis(redis: &Redis, more: &str) -> String {
    let port = redis.port();
    format!(
        "{{hour: 50, limit_by: header, header_name: X-Who, policy: redis, redis: {{host: 127.0.0.1, port: {port}, timeout: 1000}}{more}}}"
    )
}

/// The same plugin in every gate: its identity is part of the key.
fn gates(service: &Origin, config: &str) -> [Gate; 2] {
    [(); 2].map(|()| {
        let config = format!(
            "_format_version: \"3.0\"
services: [{{name: shop, url: {}, routes: [{{name: shop, paths: [/]}}]}}]
plugins: [{{id: 6a2b1f4e-0000-4000-8000-000000000001, name: rate-limiting, config: {config}}}]",
            service.url()
        );
        Gate::start(config)
    })
}

#[test]
fn gates_count_together_and_exactly_in_redis() {
    let (service, mut redis) = (Origin::start(), Redis::start(""));
    let [one, two] = gates(&service, &in_redis(&redis, ", fault_tolerant: false"));
    assert_eq!(passed(&[&one, &two], 400, "a"), 50);
    assert_eq!(passed(&[&one, &two], 80, "b"), 50);
    let keys = redis.cli(&["keys", "*"]).text();
    assert_eq!(keys.lines().filter(|key| key.starts_with("portcullis:limits:{6a2b1f4e-")).count(), 2, "{keys}");
    let life = redis.cli(&["ttl", keys.lines().next().unwrap()]).text();
    assert!((1..=7200).contains(&life.trim().parse::<i64>().unwrap()), "{life}");
    // One that has started anew knows no scripts and no counts.
    redis.stop();
    redis.start_again();
    eventually(DEADLINE, || match http(one.proxy(), "GET", "/", &[("X-Who", "a")], b"").status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn without_redis_each_gate_counts_for_itself_or_nobody_passes() {
    let (service, mut redis) = (Origin::start(), Redis::start(""));
    let (tolerant, strict) =
        (limited(&service, &in_redis(&redis, "")), limited(&service, &in_redis(&redis, ", fault_tolerant: false")));
    assert_eq!(passed(&[&tolerant], 8, "a"), 8);
    assert_eq!(passed(&[&strict], 8, "a"), 8);
    redis.stop();
    assert_eq!(passed(&[&tolerant], 80, "a"), 50, "counted here, from nothing");
    tolerant.wait_until_said("Redis cannot be asked");
    let refused = http(strict.proxy(), "GET", "/", &[("X-Who", "a")], b"").expect_status(500);
    assert_eq!(refused.json()["message"], "An unexpected error occurred");
    redis.start_again();
    for gate in [&tolerant, &strict] {
        eventually(DEADLINE, || match http(gate.proxy(), "GET", "/", &[("X-Who", "a")], b"").status {
            200 => Ok(()),
            status => Err(status.to_string()),
        });
        gate.wait_until_said("Redis answers again");
    }
}

#[test]
fn a_redis_that_stands_still_holds_up_one_request_at_a_time() {
    let (service, redis) = (Origin::start(), Redis::start(""));
    let gate = limited(&service, &in_redis(&redis, ""));
    assert_eq!(passed(&[&gate], 8, "a"), 8);
    redis.signal("STOP");
    let began = Instant::now();
    for _ in 0..20 {
        http(gate.proxy(), "GET", "/", &[("X-Who", "b")], b"").expect_status(200);
    }
    // 20 waits of a second each, if none learnt from another.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    redis.signal("CONT");
    gate.wait_until_said("Redis cannot be asked");
    eventually(DEADLINE, || {
        http(gate.proxy(), "GET", "/", &[("X-Who", "c")], b"").expect_status(200);
        match redis.cli(&["keys", "*"]).text() {
            keys if keys.lines().count() >= 2 => Ok(()),
            keys => Err(keys),
        }
    });
}

#[test]
fn redis_is_told_who_asks_and_must_be_who_it_is() {
    let (service, authority) = (Origin::start(), Authority::new("redis"));
    let certificate = authority.server(&["redis.test"]);
    let user = "user gate on >se:cret ~portcullis:* +@all\nuser default off";
    let redis = Redis::with_tls(&certificate.cert, &certificate.key, user);
    let config = |more: &str| {
        format!(
            "{{hour: 1, policy: redis, fault_tolerant: false, limit_by: ip, redis: {{host: 127.0.0.1, port: {}, ssl: true, {more}}}}}",
            redis.port()
        )
    };
    let gate = |config: String| {
        with(&service, "rate-limiting", &config)
            .env("PORTCULLIS_LUA_SSL_TRUSTED_CERTIFICATE", authority.certificate().cert.to_str().unwrap())
            .env("GATE_SECRET", "se:cret")
            .start()
    };
    let known = "username: gate, password: '{vault://env/gate-secret}'";
    for (more, said) in [
        (format!("ssl_verify: true, {known}"), "certificate"),
        (
            "ssl_verify: true, server_name: redis.test, username: gate, password: wrong".to_owned(),
            "authentication failed",
        ),
    ] {
        let gate = gate(config(&more));
        ask(&gate).expect_status(500);
        gate.wait_until_said(said);
        assert!(!gate.said().contains("se:cret"));
    }
    let gate_that_knows = gate(config(&format!("ssl_verify: true, server_name: redis.test, {known}")));
    ask(&gate_that_knows).expect_status(200);
    ask(&gate_that_knows).expect_status(429);
    // As in Kong, it can be told not to look.
    let careless = gate(config(&format!("ssl_verify: false, {known}")));
    // It is the same plugin of the same file, so the counts are the same.
    ask(&careless).expect_status(429);
}

#[test]
fn a_cluster_keeps_each_callers_counts_on_one_node() {
    let (service, nodes) = (Origin::start(), Redis::cluster());
    let config = format!(
        "{{hour: 2, limit_by: header, header_name: X-Who, policy: redis, fault_tolerant: false, \
         redis: {{cluster_nodes: [{{ip: 127.0.0.1, port: {}}}]}}}}",
        nodes[0].port()
    );
    let gate = limited(&service, &config);
    for caller in 0..30 {
        let caller = format!("caller {caller}");
        let statuses = [(); 3].map(|()| http(gate.proxy(), "GET", "/", &[("X-Who", &caller)], b"").status);
        assert_eq!(statuses, [200, 200, 429], "{caller}");
    }
    let keys: Vec<usize> = nodes.iter().map(|node| node.cli(&["keys", "*"]).text().lines().count()).collect();
    assert!(keys.iter().all(|keys| *keys > 0) && keys.iter().sum::<usize>() == 30, "{keys:?}");
}

#[test]
fn sentinels_say_who_the_master_is() {
    let service = Origin::start();
    let master = Redis::start("");
    let replica = Redis::start(&format!("replicaof 127.0.0.1 {}", master.port()));
    eventually(DEADLINE, || match master.cli(&["info", "replication"]).text() {
        info if info.contains("state=online") => Ok(()),
        info => Err(info),
    });
    let sentinel = Redis::sentinel(&master);
    let config = format!(
        "{{hour: 3, limit_by: ip, policy: redis, fault_tolerant: false, redis: {{sentinel_master: mymaster, \
         sentinel_nodes: [{{host: 127.0.0.1, port: {}}}]}}}}",
        sentinel.port()
    );
    let gate = limited(&service, &config);
    ask(&gate).expect_status(200);
    // Asking for it is refused until the sentinel has seen the replica.
    eventually(DEADLINE, || match sentinel.cli(&["sentinel", "failover", "mymaster"]).text() {
        said if said.contains("OK") => Ok(()),
        said => Err(said),
    });
    eventually(DEADLINE, || match replica.cli(&["role"]).text() {
        role if role.starts_with("master") => Ok(()),
        role => Err(role),
    });
    let mut left = None;
    eventually(DEADLINE, || match ask(&gate) {
        answer if answer.status == 200 => {
            left = answer.header("ratelimit-remaining").map(str::to_owned);
            Ok(())
        }
        answer => Err(answer.text()),
    });
    assert_eq!(left.as_deref(), Some("1"), "the replica knew of the first request");
    ask(&gate).expect_status(200);
    ask(&gate).expect_status(429);
}

#[test]
fn what_is_told_now_and_then_reaches_the_other_gate() {
    let (service, redis) = (Origin::start(), Redis::start(""));
    let [one, two] = gates(&service, &in_redis(&redis, ", sync_rate: 0.05"));
    assert_eq!(passed(&[&one], 80, "a"), 50, "exact in one gate");
    // Each answer lets the other one tell, and be told.
    let mut passed_there = 0;
    eventually(DEADLINE, || match http(two.proxy(), "GET", "/", &[("X-Who", "a")], b"").status {
        429 => Ok(()),
        status => {
            passed_there += 1;
            Err(status.to_string())
        }
    });
    assert!(passed_there < 50, "{passed_there}");
}

/// What several gates know late they know exactly.
#[test]
fn nobody_is_charged_for_what_others_used_twice() {
    let (service, redis) = (Origin::start(), Redis::start(""));
    let config = in_redis(&redis, ", sync_rate: 0.5").replace("hour: 50", "hour: 1000");
    let [one, two] = gates(&service, &config);
    assert_eq!(passed(&[&one], 400, "a"), 400);
    let left = |gate: &Gate| -> u64 {
        let answer = http(gate.proxy(), "GET", "/", &[("X-Who", "a")], b"").expect_status(200);
        answer.header("ratelimit-remaining").unwrap().parse().unwrap()
    };
    // Requests in several seconds, told together.
    let mut asked = 0;
    eventually(DEADLINE, || {
        asked += 1;
        match left(&two) {
            left if left <= 600 => Ok(()),
            left => Err(left.to_string()),
        }
    });
    for _ in 0..20 {
        asked += 1;
        assert!(left(&two) >= 600 - asked - 1, "{asked}");
    }
}

/// A service that counts: a video for each request.
fn counting(_: &Recorded) -> Reply {
    Reply::new(200, "film").with("X-Kong-Limit", "video=1, other=7")
}

#[test]
fn services_say_what_their_callers_use() {
    for policy in ["local", "redis"] {
        let (service, redis) = (Origin::answering(counting), Redis::start(""));
        let config = format!(
            "{{limits: {{video: {{hour: 2}}}}, policy: {policy}, redis: {{host: 127.0.0.1, port: {}}}}}",
            redis.port()
        );
        let gate = with(&service, "response-ratelimiting", &config).start();
        let first = http(gate.proxy(), "GET", "/", &[("X-RateLimit-Remaining-Video", "99")], b"").expect_status(200);
        assert_eq!(first.header("x-ratelimit-limit-video-hour"), Some("2"));
        assert_eq!(first.header("x-ratelimit-remaining-video-hour"), Some("1"));
        assert_eq!(first.header("x-kong-limit"), None);
        assert_eq!(service.last().values("x-ratelimit-remaining-video"), ["2"]);
        // Redis is told after the answer.
        let last = eventually(DEADLINE, || match ask(&gate) {
            answer if answer.status == 429 => Ok(answer),
            answer => Err(answer.status.to_string()),
        });
        assert_eq!((last.body.len(), last.header("x-ratelimit-remaining-video-hour")), (0, Some("0")));
        assert_eq!(last.header("x-kong-limit"), None);
    }
}

#[test]
fn a_service_is_not_asked_for_what_is_used_up() {
    let service = Origin::answering(counting);
    let config = "{limits: {video: {hour: 2}}, block_on_first_violation: true}";
    let gate = with(&service, "response-ratelimiting", config).start();
    for _ in 0..2 {
        assert_eq!(ask(&gate).expect_status(200).text(), "film");
    }
    let refused = ask(&gate).expect_status(429);
    assert_eq!(refused.json()["message"], "API rate limit exceeded for 'video'");
    // What is used up is refused to those who use it.
    let two = "{limits: {video: {hour: 1}, other: {hour: 7}, sms: {hour: 1}}}";
    let sms = Origin::answering(|request| match request.target.as_str() {
        "/sms" => Reply::new(200, "sms").with("X-Kong-Limit", "sms"),
        "/free" => Reply::new(200, "free"),
        _ => Reply::new(200, "film").with("X-Kong-Limit", "video"),
    });
    let gate = with(&sms, "response-ratelimiting", two).start();
    let statuses =
        ["/", "/", "/free", "/sms", "/sms", "/free"].map(|path| http(gate.proxy(), "GET", path, &[], b"").status);
    assert_eq!(statuses, [200, 429, 200, 200, 429, 200]);
    assert_eq!(service.requests().len(), 2);
}
