//! What a lookup costs, by kind of request and number of routes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method};
use router::{Query, Router, Rule};
use uuid::Uuid;

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// For how many routes of a kind requests come in turn: with one, everything lies in the
/// processor's cache and the table shows the work; with many, it shows the memory as well.
const SPREADS: [usize; 2] = [1, 512];

/// One kind of route, and the request that belongs to the nth of it.
struct Kind {
    name: &'static str,
    rule: fn(usize) -> Rule,
    request: fn(usize) -> Request,
}

struct Request {
    method: Method,
    host: String,
    path: String,
    headers: HeaderMap,
}

fn request(host: impl Into<String>, path: impl Into<String>) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("accept-encoding", "gzip, br"), ("x-request-id", "0c5f")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Request { method: Method::GET, host: host.into(), path: path.into(), headers }
}

/// Every third route is of the first kind, every third of the second; the rest take turns.
const KINDS: [Kind; 6] = [
    Kind {
        name: "host + path",
        rule: |n| Rule {
            hosts: vec![format!("api{}.example.com", n / 8)],
            paths: vec![format!("/v1/resource{n}")],
            ..Rule::default()
        },
        request: |n| request(format!("api{}.example.com", n / 8), format!("/v1/resource{n}/items/42")),
    },
    Kind {
        name: "path",
        rule: |n| Rule { paths: vec![format!("/service{n}/api")], ..Rule::default() },
        request: |n| request("gateway.test", format!("/service{n}/api/users/42")),
    },
    Kind {
        name: "regex path",
        rule: |n| Rule { paths: vec![format!("~/tenant{n}/(?<id>[0-9]+)/x$")], ..Rule::default() },
        request: |n| request("gateway.test", format!("/tenant{n}/4711/x")),
    },
    Kind {
        name: "header, shared path",
        rule: |n| Rule {
            paths: vec!["/shared".into()],
            headers: vec![("x-tenant".into(), vec![format!("T{n}")])],
            ..Rule::default()
        },
        request: |n| {
            let mut request = request("gateway.test", "/shared/thing");
            let value = HeaderValue::try_from(format!("t{n}")).expect("a header value");
            request.headers.insert("x-tenant", value);
            request
        },
    },
    Kind {
        name: "method + path",
        rule: |n| Rule {
            methods: vec![["GET", "POST", "PUT", "DELETE"][n % 4].into()],
            paths: vec![format!("/verbs{}", n / 4)],
            ..Rule::default()
        },
        request: |n| {
            let mut request = request("gateway.test", format!("/verbs{}/a", n / 4));
            request.method = [Method::GET, Method::POST, Method::PUT, Method::DELETE][n % 4].clone();
            request
        },
    },
    Kind {
        name: "wildcard host",
        rule: |n| Rule { hosts: vec![format!("*.w{n}.example.org")], ..Rule::default() },
        request: |n| request(format!("a.b.w{n}.example.org"), "/any/thing"),
    },
];

/// The kind of the nth route, and its number among those of its kind.
fn kind_of(n: usize) -> (&'static Kind, usize) {
    let kind = match n % 3 {
        2 => 2 + (n / 3) % 4,
        first => first,
    };
    let own = if kind < 2 { n / 3 } else { n / 12 };
    (&KINDS[kind], own)
}

/// One lookup in nanoseconds: the best of several rounds, for the machine is not ours alone.
fn measure(router: &Router, requests: &[Request], hit: bool) -> f64 {
    let mut best = Duration::MAX;
    let rounds = 24;
    let repeat = 16_384 / requests.len().max(1);
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..repeat {
            for request in requests {
                let found = router.find(black_box(&Query {
                    method: &request.method,
                    host: &request.host,
                    port: Some(443),
                    path: &request.path,
                    headers: &request.headers,
                    sni: None,
                    secure: true,
                }));
                assert_eq!(black_box(found).is_some(), hit);
            }
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / (repeat * requests.len()) as f64
}

fn main() {
    for spread in SPREADS {
        println!("\nrequests for up to {spread} routes of a kind in turn");
        table(spread);
    }
}

fn table(spread: usize) {
    let misses = [
        ("miss: unknown host", request("nowhere.test", "/none")),
        ("miss: known host", request("api0.example.com", "/v1/none")),
        ("miss: long path", request("a.b.c.d.test", "/serviceX/".repeat(12))),
    ];
    let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    names.extend(misses.iter().map(|(name, _)| *name));
    let mut table = vec![Vec::new(); names.len()];
    let mut build = Vec::new();
    for size in SIZES {
        let rules: Vec<Rule> = (0..size)
            .map(|n| {
                let (kind, own) = kind_of(n);
                Rule { id: Uuid::from_u128(n as u128), ..(kind.rule)(own) }
            })
            .collect();
        let start = Instant::now();
        let router = Router::new(rules).expect("valid rules");
        build.push(start.elapsed());
        for (kind, row) in KINDS.iter().zip(&mut table) {
            let all: Vec<usize> =
                (0..size).map(kind_of).filter(|(other, _)| other.name == kind.name).map(|(_, own)| own).collect();
            let step = all.len().div_ceil(spread).max(1);
            let requests: Vec<Request> = all.iter().step_by(step).map(|own| (kind.request)(*own)).collect();
            row.push((!requests.is_empty()).then(|| measure(&router, &requests, true)));
        }
        for ((_, request), row) in misses.iter().zip(table.iter_mut().skip(KINDS.len())) {
            row.push(Some(measure(&router, std::slice::from_ref(request), false)));
        }
    }
    print!("{:<22}", "ns per lookup");
    for size in SIZES {
        print!("{size:>9}");
    }
    println!("{:>12}", "10,000/10");
    for (name, row) in names.iter().zip(&table) {
        print!("{name:<22}");
        for cell in row {
            match cell {
                Some(ns) => print!("{ns:>9.0}"),
                None => print!("{:>9}", "-"),
            }
        }
        match (row.first(), row.last()) {
            (Some(Some(few)), Some(Some(many))) => println!("{:>12.2}", many / few),
            _ => println!("{:>12}", "-"),
        }
    }
    print!("{:<22}", "build, ms");
    for time in build {
        print!("{:>9.1}", time.as_secs_f64() * 1e3);
    }
    println!();
}
