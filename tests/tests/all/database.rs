//! Entities in a database: in force when the answer is sent, on the other gates soon after, and whatever happens to the
//! database or the gate, nothing that was acknowledged is lost and nobody who was known is turned away.

use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{fs, thread};
use tests::{DEADLINE, Gate, GateBuilder, Origin, Postgres, TempDir, eventually, hs256, http};

/// A service that wants a key.
fn protect(gate: &Gate, origin: &Origin) {
    for (path, body) in [
        ("/services", json!({ "name": "orders", "url": origin.url() })),
        ("/services/orders/routes", json!({ "name": "orders", "paths": ["/orders"] })),
        ("/services/orders/plugins", json!({ "name": "key-auth" })),
    ] {
        gate.admin("POST", path, &body.to_string()).expect_status(201);
    }
}

fn add(gate: &Gate, name: &str) {
    gate.admin("POST", "/consumers", &json!({ "username": name }).to_string()).expect_status(201);
    add_key(gate, name, name);
}

fn add_key(gate: &Gate, name: &str, key: &str) {
    gate.admin("POST", &format!("/consumers/{name}/key-auth"), &json!({ "key": key }).to_string()).expect_status(201);
}

fn status(gate: &Gate, key: &str) -> u16 {
    http(gate.proxy(), "GET", "/orders", &[("apikey", key)], b"").status
}

fn wait_for(gate: &Gate, key: &str, wanted: u16) {
    eventually(DEADLINE, || match status(gate, key) {
        status if status == wanted => Ok(()),
        other => Err(format!("{key}: {other} and not {wanted}")),
    });
}

/// A gate whose directory outlives it.
fn lasting(gate: GateBuilder, dir: &TempDir) -> GateBuilder {
    gate.env("PORTCULLIS_DATA", dir.path().to_str().unwrap())
}

#[test]
fn what_is_changed_is_in_force_with_the_answer_and_after_a_restart() {
    let (origin, dir) = (Origin::start(), TempDir::new());
    let gate = lasting(Gate::stored(), &dir).start();
    protect(&gate, &origin);
    assert_eq!(status(&gate, "nobody"), 401);
    for number in 0..20 {
        let name = format!("user-{number}");
        add(&gate, &name);
        assert_eq!(status(&gate, &name), 200);
        assert_eq!(origin.last().values("x-consumer-username"), [name.as_str()]);
    }
    // Another name, another key, and each is at once what the next request meets.
    gate.admin("PATCH", "/consumers/user-1", r#"{"username":"zoe"}"#).expect_status(200);
    assert_eq!((status(&gate, "user-1"), origin.last().values("x-consumer-username")), (200, vec!["zoe"]));
    gate.admin("PATCH", "/consumers/zoe/key-auth/user-1", r#"{"key":"fresh"}"#).expect_status(200);
    assert_eq!((status(&gate, "user-1"), status(&gate, "fresh")), (401, 200));
    gate.admin("DELETE", "/consumers/user-2/key-auth/user-2", "").expect_status(204);
    gate.admin("DELETE", "/consumers/user-3", "").expect_status(204);
    assert_eq!((status(&gate, "user-2"), status(&gate, "user-3")), (401, 401));
    drop(gate);
    let gate = lasting(Gate::stored(), &dir).start();
    let found = ["user-0", "user-1", "user-2", "user-3", "fresh", "user-19"].map(|key| status(&gate, key));
    assert_eq!(found, [200, 401, 401, 401, 200, 200]);
    // A route and its plugins as well.
    gate.admin("DELETE", "/routes/orders", "").expect_status(204);
    assert_eq!(status(&gate, "user-0"), 404);
}

#[test]
fn a_verified_token_ends_with_its_credential() {
    let (origin, gate) = (Origin::start(), Gate::stored().start());
    gate.admin("POST", "/services", &json!({ "name": "s", "url": origin.url() }).to_string()).expect_status(201);
    gate.admin("POST", "/services/s/routes", r#"{"paths":["/"]}"#).expect_status(201);
    gate.admin("POST", "/services/s/plugins", r#"{"name":"jwt"}"#).expect_status(201);
    gate.admin("POST", "/consumers", r#"{"username":"ann"}"#).expect_status(201);
    let secret = "a secret that is long enough for HS256";
    let credential = json!({ "key": "ann", "secret": secret }).to_string();
    gate.admin("POST", "/consumers/ann/jwt", &credential).expect_status(201);
    let token = format!("Bearer {}", hs256(secret, &json!({ "iss": "ann" })));
    let status = || http(gate.proxy(), "GET", "/", &[("Authorization", &token)], b"").status;
    assert_eq!((status(), status()), (200, 200));
    gate.admin("DELETE", "/consumers/ann/jwt/ann", "").expect_status(204);
    assert_eq!(status(), 401);
    gate.admin("POST", "/consumers/ann/jwt", &credential).expect_status(201);
    assert_eq!(status(), 200);
    gate.admin("DELETE", "/consumers/ann", "").expect_status(204);
    assert_eq!(status(), 401);
}

#[test]
fn gates_that_share_a_database_follow_each_other() {
    let (origin, server) = (Origin::start(), Postgres::start());
    let one = Gate::sharing(&server).start();
    protect(&one, &origin);
    let others = [Gate::sharing(&server).start(), Gate::sharing(&server).start()];
    let mut took = Vec::new();
    for number in 0..50 {
        let key = format!("key-{number}");
        add(&one, &key);
        let start = Instant::now();
        others.iter().for_each(|gate| wait_for(gate, &key, 200));
        gate_of(&one, &others, number).admin("DELETE", &format!("/consumers/{key}"), "").expect_status(204);
        others.iter().chain([&one]).for_each(|gate| wait_for(gate, &key, 401));
        took.push(start.elapsed());
    }
    took.sort();
    println!("a key came and went on three gates: median {:?}, longest {:?}", took[25], took[49]);
    // Who is cut off from the server hears of what happened meanwhile.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'portcullis'";
    server.sql(cut);
    add(&one, "after-the-cut");
    others.iter().for_each(|gate| wait_for(gate, "after-the-cut", 200));
    // A route that was made on one leads somewhere on all.
    one.admin("POST", "/services/orders/routes", r#"{"paths":["/new"]}"#).expect_status(201);
    let get = |gate: &Gate| http(gate.proxy(), "GET", "/new", &[("apikey", "after-the-cut")], b"").status;
    for gate in &others {
        eventually(DEADLINE, || if get(gate) == 200 { Ok(()) } else { Err("the route is not there".to_owned()) });
    }
}

/// Changes come in at any of the gates.
fn gate_of<'a>(one: &'a Gate, others: &'a [Gate], number: usize) -> &'a Gate {
    [one, &others[0], &others[1]][number % 3]
}

/// A gate that cannot carry what is new in the database refuses all the same whom the others refuse.
#[test]
fn a_plan_that_cannot_be_made_keeps_no_credential() {
    let (origin, server) = (Origin::start(), Postgres::start());
    let one = Gate::sharing(&server).env("SECRET", "known here").start();
    protect(&one, &origin);
    add(&one, "ann");
    let token = one.admin("POST", "/admin_tokens", r#"{"name":"t","allow":["GET /**"]}"#).expect_status(201).json();
    let other = Gate::sharing(&server).start();
    let plugin = json!({ "name": "rate-limiting",
        "config": { "minute": 5, "redis": { "password": "{vault://env/SECRET}" } } });
    one.admin("POST", "/plugins", &plugin.to_string()).expect_status(201);
    other.wait_until_said("cannot work here");
    one.admin("DELETE", "/consumers/ann/key-auth/ann", "").expect_status(204);
    wait_for(&other, "ann", 401);
    one.admin("DELETE", "/admin_tokens/t", "").expect_status(204);
    let fields = [("Kong-Admin-Token", token["token"].as_str().unwrap())];
    eventually(DEADLINE, || match http(other.admin_address(), "GET", "/status", &fields, b"").status {
        401 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn whatever_two_gates_are_told_at_once_they_end_the_same() {
    let (origin, server) = (Origin::start(), Postgres::start());
    let gates = [Gate::sharing(&server).start(), Gate::sharing(&server).start()];
    protect(&gates[0], &origin);
    wait_for(&gates[1], "nobody", 401);
    const NAMES: u64 = 6;
    thread::scope(|scope| {
        for (index, gate) in gates.iter().enumerate() {
            scope.spawn(move || {
                let mut random = 88_172_645_463_325_252 + index as u64;
                for _ in 0..150 {
                    // xorshift
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let (name, key) = (random % NAMES, (random >> 8) % NAMES);
                    let owner = json!({ "key": format!("key-{key}") }).to_string();
                    let of = format!("/consumers/name-{name}");
                    let answer = match (random >> 16) % 6 {
                        0 => {
                            gate.admin("POST", "/consumers", &json!({ "username": format!("name-{name}") }).to_string())
                        }
                        1 => gate.admin("DELETE", &of, ""),
                        2 => gate.admin("POST", &format!("{of}/key-auth"), &owner),
                        3 => gate.admin("DELETE", &format!("{of}/key-auth/key-{key}"), ""),
                        4 => gate.admin("PATCH", &format!("{of}/key-auth/key-{key}"), r#"{"tags":["seen"]}"#),
                        _ => gate.admin("PUT", &format!("{of}/key-auth/key-{key}"), "{}"),
                    };
                    assert!(answer.status < 500, "{}: {}", answer.status, answer.text());
                }
            });
        }
    });
    // The last word of the feed reaches both.
    add(&gates[0], "the-last");
    gates.iter().for_each(|gate| wait_for(gate, "the-last", 200));
    let fresh = Gate::sharing(&server).start();
    let who = |gate: &Gate, key: u64| {
        let status = status(gate, &format!("key-{key}"));
        (status == 200).then(|| origin.last().values("x-consumer-username").concat())
    };
    let all = |gate: &Gate| (0..NAMES).map(|key| who(gate, key)).collect::<Vec<_>>();
    let expected = all(&fresh);
    println!("{expected:?}");
    assert_eq!((all(&gates[0]), all(&gates[1])), (expected.clone(), expected));
}

#[test]
fn a_database_that_is_away_turns_nobody_away() {
    let (origin, mut server, dir) = (Origin::start(), Postgres::start(), TempDir::new());
    let gate = lasting(Gate::sharing(&server), &dir).start();
    protect(&gate, &origin);
    add(&gate, "ann");
    // The copy follows what is in force: it is there when the next gate can start from it.
    server.stop();
    for _ in 0..50 {
        assert_eq!((status(&gate, "ann"), status(&gate, "nobody")), (200, 401));
    }
    let told = gate.admin("POST", "/consumers", r#"{"username":"bob"}"#).expect_status(503);
    assert!(told.text().contains("PostgreSQL"), "{}", told.text());
    gate.admin("GET", "/consumers", "").expect_status(503);
    assert_eq!(gate.admin("GET", "/status", "").json()["database"]["reachable"], false);
    gate.wait_until_said("the gate goes on with what it knows");
    server.start_again();
    eventually(DEADLINE, || match gate.admin("POST", "/consumers", r#"{"username":"bob"}"#).status {
        201 => Ok(()),
        other => Err(other.to_string()),
    });
    gate.wait_until_said("the database answers again");
    add_key(&gate, "bob", "bob");
    assert_eq!(status(&gate, "bob"), 200);
}

#[test]
fn a_gate_starts_with_what_it_knew_last() {
    let (origin, mut server, dir) = (Origin::start(), Postgres::start(), TempDir::new());
    let first = lasting(Gate::sharing(&server), &dir).start();
    protect(&first, &origin);
    add(&first, "a-key-that-nobody-else-knows");
    let copy = || fs::read(dir.join("last-known.db")).unwrap_or_default();
    let log = || [copy(), fs::read(dir.join("last-known.db-wal")).unwrap_or_default()].concat();
    let holds = |text: &str| log().windows(text.len()).any(|part| part == text.as_bytes());
    eventually(DEADLINE, || if holds("keyauth_credentials") { Ok(()) } else { Err("no copy".to_owned()) });
    drop(first);
    server.stop();
    let gate = lasting(Gate::sharing(&server), &dir).start();
    gate.wait_until_said("goes by what it knew last");
    assert_eq!((status(&gate, "a-key-that-nobody-else-knows"), status(&gate, "nobody")), (200, 401));
    gate.admin("POST", "/consumers", r#"{"username":"bob"}"#).expect_status(503);
    // One without a copy has nothing to go by, and one with another key cannot read it.
    let refused = Gate::sharing(&server).refuse();
    assert!(refused.stderr.contains("PostgreSQL at 127.0.0.1"), "{}", refused.stderr);
    drop(gate);
    let other = lasting(Gate::sharing(&server), &dir).env("PORTCULLIS_ENCRYPTION_KEY", &"6".repeat(64)).refuse();
    assert!(other.stderr.contains("encryption key"), "{}", other.stderr);
    let gate = lasting(Gate::sharing(&server), &dir).start();
    server.start_again();
    eventually(DEADLINE, || match gate.admin("POST", "/consumers", r#"{"username":"bob"}"#).status {
        201 => Ok(()),
        other => Err(other.to_string()),
    });
    add_key(&gate, "bob", "bob");
    assert_eq!((status(&gate, "bob"), status(&gate, "a-key-that-nobody-else-knows")), (200, 200));
}

/// Writes until the gate is killed; what was acknowledged is there afterwards.
fn killed(gate: GateBuilder, again: impl Fn() -> GateBuilder) {
    let gate = gate.start();
    let stop = AtomicBool::new(false);
    let address = gate.admin_address();
    let token = [("Kong-Admin-Token", gate.token()), ("Content-Type", "application/json")];
    let acknowledged: Vec<String> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (stop, token) = (&stop, &token);
                scope.spawn(move || {
                    let mut written = Vec::new();
                    for number in 0.. {
                        let name = format!("w{writer}-{number}");
                        let body = json!({ "username": name }).to_string();
                        let answer = tests::try_http(address, "POST", "/consumers", token, body.as_bytes());
                        match answer {
                            Ok(answer) if answer.status == 201 => written.push(name),
                            _ if stop.load(Ordering::SeqCst) => break,
                            other => panic!("{other:?}"),
                        }
                    }
                    written
                })
            })
            .collect();
        // In the middle of 10,000.
        eventually(5 * DEADLINE, || match gate.admin("GET", "/consumers/w0-1250", "").status {
            200 => Ok(()),
            other => Err(other.to_string()),
        });
        stop.store(true, Ordering::SeqCst);
        gate.signal("KILL");
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    drop(gate);
    println!("{} were acknowledged", acknowledged.len());
    let gate = again().start();
    for name in &acknowledged {
        gate.admin("GET", &format!("/consumers/{name}"), "").expect_status(200);
    }
}

#[test]
fn a_gate_that_is_killed_loses_nothing_that_it_acknowledged() {
    let dir = TempDir::new();
    killed(lasting(Gate::stored(), &dir), || lasting(Gate::stored(), &dir));
}

#[test]
fn nor_does_one_with_postgresql() {
    let server = Postgres::start();
    killed(Gate::sharing(&server), || Gate::sharing(&server));
}

#[test]
fn a_full_disk_is_told_and_corrupts_nothing() {
    let (origin, dir) = (Origin::start(), TempDir::new());
    let gate = lasting(Gate::stored(), &dir).largest_file(400_000).start();
    protect(&gate, &origin);
    add(&gate, "ann");
    let mut known = Vec::new();
    let refused = eventually(DEADLINE, || {
        let name = format!("{}-{}", known.len(), "x".repeat(2000));
        match gate.admin("POST", "/consumers", &json!({ "username": name }).to_string()) {
            answer if answer.status == 201 => {
                known.push(name);
                Err("there was room".to_owned())
            }
            answer => Ok(answer),
        }
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(status(&gate, "ann"), 200);
    gate.admin("GET", "/consumers/ann", "").expect_status(200);
    drop(gate);
    let gate = lasting(Gate::stored(), &dir).start();
    known.iter().for_each(|name| drop(gate.admin("GET", &format!("/consumers/{name}"), "").expect_status(200)));
    add(&gate, "bob");
    assert_eq!((status(&gate, "ann"), status(&gate, "bob")), (200, 200));
}

/// Another database is there all at once (restored, or changed by hand), and holds what a gate cannot carry.
#[test]
fn who_may_call_is_followed_whatever_else_there_is() {
    let (origin, server) = (Origin::start(), Postgres::start());
    let one = Gate::sharing(&server).start();
    protect(&one, &origin);
    add(&one, "ann");
    add(&one, "bob");
    let two = Gate::sharing(&server).env("PORTCULLIS_PLUGINS", "key-auth").start();
    assert_eq!(status(&two, "ann"), 200);
    let plugin = one.admin("POST", "/plugins", r#"{"name":"cors"}"#).expect_status(201).json();
    two.wait_until_said("what was in force stays");
    let ann = one.admin("GET", "/key-auths/ann", "").json()["id"].as_str().unwrap().replace('-', "");
    server.sql(&format!(
        "DELETE FROM entities WHERE id = '\\x{ann}'; UPDATE last_change SET number = number + 7; NOTIFY portcullis"
    ));
    for gate in [&one, &two] {
        wait_for(gate, "ann", 401);
        assert_eq!(status(gate, "bob"), 200);
    }
    // The plugin that it may not use is not in force there.
    let origin_of_page = [("apikey", "bob"), ("Origin", "https://page.test")];
    let allowed = |gate: &Gate| {
        http(gate.proxy(), "GET", "/orders", &origin_of_page, b"").header("access-control-allow-origin").is_some()
    };
    assert_eq!((allowed(&one), allowed(&two)), (true, false));
    // Callers can be changed there, but nothing on grounds that it does not know; nor does a reload get around that.
    add(&two, "eve");
    let refused = two.admin("POST", "/services", r#"{"name":"more","url":"http://a"}"#).expect_status(400);
    assert!(refused.text().contains("cors"), "{}", refused.text());
    let refused = two.tell(&["reload"]).expect_code(1);
    assert!(refused.stderr.contains("cors"), "{refused:?}");
    assert!(!allowed(&two));
    one.admin("DELETE", &format!("/plugins/{}", plugin["id"].as_str().unwrap()), "").expect_status(204);
    two.admin("POST", "/consumers", r#"{"username":"zoe"}"#).expect_status(201);
    add_key(&one, "zoe", "zoe");
    wait_for(&two, "zoe", 200);
}

#[test]
fn the_wrong_key_opens_nothing() {
    let dir = TempDir::new();
    drop(lasting(Gate::stored(), &dir).start());
    fs::write(dir.join("encryption.key"), "6".repeat(64)).unwrap();
    let refused = lasting(Gate::stored(), &dir).refuse();
    assert!(refused.stderr.contains("encryption key"), "{}", refused.stderr);
    fs::write(dir.join("encryption.key"), "no key").unwrap();
    let refused = lasting(Gate::stored(), &dir).refuse();
    assert!(refused.stderr.contains("encryption.key"), "{}", refused.stderr);
}

#[test]
fn what_was_given_for_a_time_ends_with_it() {
    let (origin, gate) = (Origin::start(), Gate::stored().start());
    protect(&gate, &origin);
    add(&gate, "ann");
    gate.admin("POST", "/consumers/ann/key-auth", r#"{"key":"short","ttl":2}"#).expect_status(201);
    assert_eq!(status(&gate, "short"), 200);
    wait_for(&gate, "short", 401);
    // And leaves the database by itself.
    let gone = || gate.admin("GET", "/key-auths?size=1000", "").json()["data"].as_array().unwrap().len();
    eventually(DEADLINE, || if gone() == 1 { Ok(()) } else { Err("it is there".to_owned()) });
    assert_eq!(status(&gate, "ann"), 200);
}
