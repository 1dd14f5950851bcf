//! Each point of the routing semantics, one after the other; `R..` names the case of
//! `kong/cases.json` that a real Kong answered the same way.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use router::{Precedence, Query, Router, Rule, normalize};
use uuid::Uuid;

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn rule() -> Rule {
    Rule::default()
}

trait With: Sized {
    fn methods(self, values: &[&str]) -> Self;
    fn hosts(self, values: &[&str]) -> Self;
    fn paths(self, values: &[&str]) -> Self;
    fn header(self, name: &str, values: &[&str]) -> Self;
    fn snis(self, values: &[&str]) -> Self;
    fn priority(self, value: i64) -> Self;
    fn id(self, value: u128) -> Self;
}

impl With for Rule {
    fn methods(mut self, values: &[&str]) -> Self {
        self.methods = strings(values);
        self
    }
    fn hosts(mut self, values: &[&str]) -> Self {
        self.hosts = strings(values);
        self
    }
    fn paths(mut self, values: &[&str]) -> Self {
        self.paths = strings(values);
        self
    }
    fn header(mut self, name: &str, values: &[&str]) -> Self {
        self.headers.push((name.into(), strings(values)));
        self
    }
    fn snis(mut self, values: &[&str]) -> Self {
        self.snis = strings(values);
        self
    }
    fn priority(mut self, value: i64) -> Self {
        self.regex_priority = value;
        self
    }
    fn id(mut self, value: u128) -> Self {
        self.id = Uuid::from_u128(value);
        self
    }
}

/// `METHOD [https[:sni]] host[:port]/path [name=value]…`, split at spaces.
struct Request {
    method: Method,
    secure: bool,
    sni: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    headers: HeaderMap,
}

fn request(text: &str) -> Request {
    let mut words = text.split(' ').peekable();
    let method = words.next().expect("method").parse().expect("method");
    let tls = words.next_if(|word| word.starts_with("https"));
    let target = words.next().expect("target");
    let (authority, path) = target.split_at(target.find('/').expect("path"));
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().expect("port"))),
        None => (authority, Some(8000)),
    };
    let mut headers = HeaderMap::new();
    for word in words {
        let (name, value) = word.split_once('=').expect("name=value");
        headers.append(name.parse::<HeaderName>().expect("name"), value.parse::<HeaderValue>().expect("value"));
    }
    Request {
        method,
        secure: tls.is_some(),
        sni: tls.and_then(|tls| tls.strip_prefix("https:")).map(String::from),
        host: host.into(),
        port,
        path: normalize(path).into_owned(),
        headers,
    }
}

impl Request {
    fn query(&self) -> Query<'_> {
        Query {
            method: &self.method,
            host: &self.host,
            port: self.port,
            path: &self.path,
            headers: &self.headers,
            sni: self.sni.as_deref(),
            secure: self.secure,
        }
    }
}

fn check(rules: &[Rule], cases: &[(&str, Option<usize>)]) {
    check_with(Precedence::Documented, rules, cases);
}

fn check_with(precedence: Precedence, rules: &[Rule], cases: &[(&str, Option<usize>)]) {
    let router = Router::with_precedence(rules.to_vec(), precedence).expect("valid rules");
    for (text, expected) in cases {
        let request = request(text);
        let found = router.find(&request.query()).map(|found| found.rule);
        assert_eq!(found, *expected, "{precedence:?}: {text}");
    }
}

fn check_strip(path_rule: &str, path: &str, matched: &str, rest: &str) {
    let router = Router::new(vec![rule().paths(&[path_rule])]).expect("a valid rule");
    let request = request(&format!("GET a{path}"));
    let found = router.find(&request.query()).expect("a match");
    let range = found.matched.clone().expect("a path");
    assert_eq!(request.path.get(range), Some(matched), "{path_rule} on {path}");
    assert_eq!(found.rest(&request.path), rest, "{path_rule} on {path}");
    assert_eq!(found.is_regex(), path_rule.starts_with('~'));
}

#[test]
fn nothing_matches_nothing() {
    check(&[], &[("GET a/", None)]);
    check(&[rule().paths(&["/a"])], &[("GET a/nope", None)]);
}

#[test]
fn plain_paths() {
    // R17, R21
    let rules = [rule().paths(&["/mock"]), rule().paths(&["/mock/long"]), rule().paths(&["/ü x"])];
    check(
        &rules,
        &[
            ("GET a/mock", Some(0)),
            ("GET a/mockfoo", Some(0)),
            ("GET a/mock/lon", Some(0)),
            ("GET a/mock/longer", Some(1)),
            ("GET a/Mock", None),
            ("GET a/moc", None),
            ("GET a/x/../mock", Some(0)),
            ("GET a/%C3%BC%20xyz", Some(2)),
        ],
    );
    check_strip("/mock", "/mockfoo", "/mock", "foo");
    check_strip("/mock", "/mock", "/mock", "");
    check_strip("/ü", "/%C3%BC/x", "/%C3%BC", "/x");
}

#[test]
fn regex_paths() {
    // R07, R29
    let rules = [
        rule().paths(&["~/re/(a|b)$"]),
        rule().paths(&["~/re/[a-z]+/x"]).priority(5),
        rule().paths(&["~/re/.+"]),
        rule().paths(&["~/(?i)case"]),
        rule().paths(&["~/dot.html"]),
        rule().paths(&["~/users/(?<id>\\d+)"]),
    ];
    // where nothing but the id decides, the real ids were such that the first won
    let rules: Vec<_> = rules.into_iter().zip((0..9).rev()).map(|(rule, id)| rule.id(id)).collect();
    check(
        &rules,
        &[
            ("GET a/re/a", Some(0)),
            ("GET a/re/ab", Some(2)),
            ("GET a/re/abc/x", Some(1)),
            ("GET a/re/abc/y", Some(2)),
            ("GET a/CASE", Some(3)),
            ("GET a/dotXhtml", Some(4)),
            ("GET a/re/", None),
            ("GET a/users/42/profile", Some(5)),
            ("GET a/x/users/42", None),
            ("GET a/users/abc", None),
        ],
    );
    check_strip("~/users/(?<id>\\d+)", "/users/42/profile", "/users/42", "/profile");
    check_strip("~/a|/b", "/x/b/yz", "/b", "/b/yz");
    check_strip("~/(?<name>\\w+)", "/%C3%BC%2Fx", "/%C3%BC", "%2Fx");
    check_strip("~/ü", "/%C3%BC/x", "/%C3%BC", "/x");
    check_strip("~/a%2Fb", "/a%2fb/c", "/a%2Fb", "/c");
}

#[test]
fn captures() {
    let paths = ["~/none", "~/users/(?<id>\\d+)(/(?P<rest>.*))?"];
    let router = Router::new(vec![rule().paths(&paths)]).expect("a valid rule");
    let request = request("GET a/users/42/a%20b%2Fc");
    let found = router.find(&request.query()).expect("a match");
    let captures = found.captures().expect("captures");
    assert_eq!(captures.get(1).map(|group| group.as_str()), Some("42"));
    assert_eq!(captures.name("id").map(|group| group.as_str()), Some("42"));
    assert_eq!(captures.name("rest").map(|group| group.as_str()), Some("a b%2Fc"));
    let names: Vec<_> = found.capture_names().collect();
    assert_eq!(names, [None, Some("id"), None, Some("rest")]);
    let plain = Router::new(vec![rule().paths(&["/users"])]).expect("a valid rule");
    let found = plain.find(&request.query()).expect("a match");
    assert!(found.captures().is_none());
}

#[test]
fn hosts() {
    // R27, and R35 the way we mean it
    let rules = [
        rule().hosts(&["api.example.com"]),
        rule().hosts(&["p.test:8080"]),
        rule().hosts(&["*.l.test"]),
        rule().hosts(&["r.*"]),
        rule().hosts(&["m1.test", "m2.test"]),
        rule().hosts(&["*.w.test:81"]),
        rule().hosts(&["D.test."]),
    ];
    check(
        &rules,
        &[
            ("GET api.example.com/", Some(0)),
            ("GET API.Example.com/", Some(0)),
            ("GET api.example.com./", Some(0)),
            ("GET api.example.com:81/", Some(0)),
            ("GET p.test:8080/", Some(1)),
            ("GET p.test/", None),
            ("GET p.test:81/", None),
            ("GET a.l.test/", Some(2)),
            ("GET A.L.TEST./", Some(2)),
            ("GET a.b.l.test/", Some(2)),
            ("GET l.test/", None),
            ("GET .l.test/", None),
            ("GET xl.test/", None),
            ("GET r.test/", Some(3)),
            ("GET r.co.uk/", Some(3)),
            ("GET r/", None),
            ("GET r./", None),
            ("GET xr.test/", None),
            ("GET m2.test/", Some(4)),
            ("GET a.w.test:81/", Some(5)),
            ("GET a.w.test/", None),
            ("GET d.test/", Some(6)),
            ("GET /", None),
        ],
    );
}

#[test]
fn methods() {
    // R09, R12
    let rules = [
        rule().paths(&["/a"]),
        rule().paths(&["/a"]).methods(&["POST", "PUT"]),
        rule().paths(&["/b"]).methods(&["GET"]),
        rule().methods(&["PURGE"]),
    ];
    check(
        &rules,
        &[
            ("GET a/a", Some(0)),
            ("POST a/a", Some(1)),
            ("PUT a/a", Some(1)),
            ("DELETE a/b", None),
            ("PURGE a/c", Some(3)),
            ("purge a/c", None),
        ],
    );
}

#[test]
fn headers() {
    let rules = [
        rule().header("X-A", &["One", "two"]),
        rule().header("x-a", &["one"]).header("x-b", &["1"]),
        rule().header("x-c", &["~*^v\\d+$"]),
    ];
    check(
        &rules,
        &[
            ("GET a/ x-a=one", Some(0)),
            ("GET a/ x-a=TWO", Some(0)),
            ("GET a/ x-a=zzz x-a=two", Some(0)),
            ("GET a/ x-a=one,two", None),
            ("GET a/ x-a=three", None),
            ("GET a/ x-a=one x-b=2", Some(0)),
            ("GET a/ x-a=one x-b=1", Some(1)),
            ("GET a/ x-b=1", None),
            ("GET a/ x-c=V12", Some(2)),
            ("GET a/ x-c=v12a", None),
            ("GET a/ x-c=no x-c=v1", Some(2)),
        ],
    );
}

#[test]
fn server_names() {
    let rules = [rule().snis(&["a.test."]), rule().snis(&["*.w.test", "h.*"]), rule().paths(&["/p"]).snis(&["p.test"])];
    check(
        &rules,
        &[
            ("GET https:a.test x/", Some(0)),
            ("GET https:A.test. x/", Some(0)),
            ("GET https:b.w.test x/", Some(1)),
            ("GET https:h.test x/", Some(1)),
            ("GET https:none.test x/", None),
            ("GET https x/", None),
            ("GET https:p.test x/p", Some(2)),
            ("GET https:p.test x/q", None),
            // not looked at on plain HTTP
            ("GET x/p", Some(2)),
        ],
    );
}

/// The rules of R26, in its order.
fn precedence_rules() -> Vec<Rule> {
    vec![
        rule().paths(&["/x"]),
        rule().paths(&["/x/long/er"]),
        rule().paths(&["~/x/lo.*"]),
        rule().hosts(&["h.test"]),
        rule().hosts(&["h.test"]).paths(&["/x"]),
        rule().hosts(&["*.test"]).paths(&["/x"]),
        rule().methods(&["POST"]).paths(&["/x"]),
        rule().paths(&["/x"]).header("x-a", &["1"]),
        rule().paths(&["/x"]).header("x-a", &["1"]).header("x-b", &["1"]),
        rule().hosts(&["h.test"]).paths(&["/x"]).methods(&["POST"]).header("x-a", &["1"]),
    ]
}

#[test]
fn precedence() {
    // a real Kong is on record for these, and both orders agree with it
    for precedence in [Precedence::Documented, Precedence::Kong39] {
        check_with(
            precedence,
            &precedence_rules(),
            &[
                ("GET z.org/x", Some(0)),
                ("GET z.org/x/long/er", Some(2)),
                ("GET z.org/x/long", Some(2)),
                ("GET h.test/y", Some(3)),
                ("GET h.test/x", Some(4)),
                ("GET q.test/x", Some(5)),
                ("POST z.org/x", Some(6)),
                ("POST h.test/x", Some(4)),
                ("GET h.test/x/long/er", Some(4)),
                ("GET z.org/x x-a=1", Some(7)),
                ("GET z.org/x x-a=1 x-b=1", Some(8)),
                ("POST h.test/x x-a=1", Some(9)),
                ("POST q.test/x x-a=1 x-b=1", Some(8)),
                ("GET none.org/y", None),
            ],
        );
    }
}

#[test]
fn where_the_two_orders_differ() {
    let rules = [rule().hosts(&["h.test"]), rule().methods(&["GET"]).paths(&["/x"]), rule().paths(&["~/x"])];
    check_with(Precedence::Documented, &rules, &[("GET h.test/x", Some(1)), ("GET z.org/x", Some(1))]);
    check_with(Precedence::Kong39, &rules, &[("GET h.test/x", Some(0)), ("GET z.org/x", Some(2))]);
}

#[test]
fn ties_and_splits() {
    let tie = [rule().paths(&["/a"]).id(1), rule().paths(&["/a"]).id(3), rule().paths(&["/a"]).id(2)];
    check(&tie, &[("GET a/a", Some(1))]);
    // each length of a route ranks for itself
    let split = [
        rule().paths(&["/a", "/a/b/c"]),
        rule().paths(&["/a/b"]),
        rule().paths(&["/s", "~/r"]),
        rule().paths(&["/s/t"]),
    ];
    check(
        &split,
        &[
            ("GET a/a", Some(0)),
            ("GET a/a/b", Some(1)),
            ("GET a/a/b/c", Some(0)),
            ("GET a/s/t", Some(3)),
            ("GET a/r", Some(2)),
        ],
    );
    // the priority counts for regular expressions only
    let prefix = [rule().paths(&["/a"]).priority(9), rule().paths(&["/a/b"])];
    check(&prefix, &[("GET a/a/b", Some(1))]);
}

#[test]
fn many_routes_at_one_place() {
    let mut rules: Vec<_> = (0..50).map(|n| rule().paths(&["/a"]).header("x-tenant", &[&format!("T{n}")])).collect();
    rules.extend((0..50).map(|n| rule().paths(&["/a"]).header(&format!("x-{n}"), &["1"]).header("all", &["1"])));
    rules.push(rule().paths(&["/a"]).methods(&["PATCH"]));
    rules.extend((0..50).map(|n| rule().paths(&["/a"]).snis(&[&format!("s{n}.test")])));
    check(
        &rules,
        &[
            ("GET a/a x-tenant=t7", Some(7)),
            ("GET a/a x-tenant=T49 b=1 c=2", Some(49)),
            ("GET a/a x-tenant=T50 https=1", Some(101)),
            ("GET a/a all=1 x-9=1 x-tenant=t7", Some(59)),
            ("GET https:s17.test a/a", Some(118)),
            ("PATCH https:none.test a/a", Some(100)),
            ("GET https a/a", None),
        ],
    );
}
