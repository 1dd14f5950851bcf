//! The index against the plainest router there is: all groups in order, one after the other.
//!
//! The alphabets are small, so that hosts, paths and values collide all the time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Method};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use regex::{Regex, RegexBuilder};
use router::{Precedence, Query, Router, Rule};
use uuid::Uuid;

const METHODS: &[&str] = &["GET", "POST", "PURGE"];
const HOSTS: &[&str] = &["a.b", "A.b.", "c.a.b", "b", "*.b", "*.a.b", "a.*", "c.a.*", "a.b:80", "*.b:80", "a.*:81"];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/ab",
    "/a/",
    "/a/b",
    "/a/c",
    "/a/bc",
    "/a/b/c",
    "/ü",
    "/a%2F",
    "~/",
    "~/a",
    "~/a$",
    "~/(a|b)",
    "~/a/(?<x>[^/]+)",
    "~/a/(b|bc)$",
    "~/a/b?c",
    "~/(?i)A/B",
    "~/a|/b",
    "~/.*c$",
    "~/a/\\w+",
    "~/a(/b)+",
    "~/[ab]/",
    "~/ü",
    "~/a%2F",
];
const HEADERS: &[&str] = &["x-a", "X-B", "x-c"];
const VALUES: &[&str] = &["1", "V2", "v3", "~*^V", "~*\\d$"];
const SNIS: &[&str] = &["a.b", "c.a.b", "*.b", "a.*", "b."];

const REQUEST_HOSTS: &[&str] =
    &["a.b", "A.B", "a.b.", "c.a.b", "b", "a.c", "c.a.d", "x", "", ".b", "a.", "..", "x.y.a.b"];
const REQUEST_PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/ab",
    "/a/",
    "/a/b",
    "/a/c",
    "/a/bc",
    "/a/b/c",
    "/A/b",
    "/x/b",
    "/abc",
    "/%C3%BC",
    "/a/%C3%BCc",
    "/a%2Fb",
    "/%FF/c",
    "/c",
    "/b/",
    "/a/b/b",
    "/a/%20",
];
const REQUEST_VALUES: &[&str] = &["1", "v2", "V3", "x", ""];

fn strings(all: &'static [&str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(all, 0..=most).prop_shuffle().prop_map(|some| some.into_iter().map(String::from).collect())
}

/// A field that is often absent.
fn sometimes<T: std::fmt::Debug + Default>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = T> {
    prop_oneof![2 => Just(()).prop_map(|()| T::default()), 3 => strategy]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let header_values = || subsequence(VALUES, 1..=2);
    let headers = subsequence(HEADERS, 0..=2).prop_flat_map(move |names| {
        let len = names.len();
        (Just(names), vec(header_values(), len)).prop_map(|(names, values)| {
            let values = values.into_iter().map(|values| values.into_iter().map(String::from).collect());
            names.into_iter().map(String::from).zip(values).collect::<Vec<_>>()
        })
    });
    let rule = (
        sometimes(strings(METHODS, 2)),
        sometimes(strings(HOSTS, 3)),
        sometimes(strings(PATHS, 4)),
        sometimes(headers),
        sometimes(strings(SNIS, 2)),
        -1..2_i64,
        0..40_u128,
    )
        .prop_map(|(methods, hosts, paths, headers, snis, regex_priority, id)| Rule {
            id: Uuid::from_u128(id),
            methods,
            hosts,
            paths,
            headers,
            snis,
            regex_priority,
        });
    vec(rule, 0..40)
}

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    host: &'static str,
    port: Option<u16>,
    path: &'static str,
    headers: HeaderMap,
    sni: Option<&'static str>,
    secure: bool,
}

fn request() -> impl Strategy<Value = Request> {
    (
        select(METHODS),
        select(REQUEST_HOSTS),
        select(&[None, Some(80), Some(81)][..]),
        select(REQUEST_PATHS),
        vec((select(HEADERS), select(REQUEST_VALUES)), 0..5),
        select(&[None, Some("a.b"), Some("C.a.b."), Some("b"), Some("x")][..]),
        any::<bool>(),
    )
        .prop_map(|(method, host, port, path, pairs, sni, secure)| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                let name: http::HeaderName = name.parse().expect("a name");
                headers.append(name, HeaderValue::from_static(value));
            }
            let method = method.parse().expect("a method");
            Request { method, host, port, path, headers, sni, secure }
        })
}

/// What the reference finds: the rule, and the length of the matched path.
type Found = Option<(usize, Option<usize>)>;

struct Part<'a> {
    index: usize,
    rule: &'a Rule,
    id: Uuid,
    paths: Vec<&'a str>,
}

fn parts(rules: &[Rule]) -> Vec<Part<'_>> {
    let namespace = Uuid::parse_str("7f145bf9-0dce-4f91-98eb-debbce4b9f6b").expect("an id");
    let mut parts = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut kinds: Vec<(usize, Vec<&str>)> = Vec::new();
        for path in &rule.paths {
            let kind = if path.starts_with('~') { 0 } else { path.len() };
            match kinds.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, paths)) => paths.push(path),
                None => kinds.push((kind, vec![path])),
            }
        }
        if kinds.is_empty() {
            kinds.push((0, Vec::new()));
        }
        let split = kinds.len() > 1;
        for (number, (_, paths)) in kinds.into_iter().enumerate() {
            let name = format!("{}#{}", rule.id, number + 1);
            let id = if split { Uuid::new_v5(&namespace, name.as_bytes()) } else { rule.id };
            parts.push(Part { index, rule, id, paths });
        }
    }
    parts
}

impl Part<'_> {
    fn kinds(&self) -> usize {
        let rule = self.rule;
        [
            !rule.methods.is_empty(),
            !rule.hosts.is_empty(),
            !rule.headers.is_empty(),
            !rule.paths.is_empty(),
            !rule.snis.is_empty(),
        ]
        .iter()
        .filter(|used| **used)
        .count()
    }

    fn plain_hosts(&self) -> bool {
        !self.rule.hosts.is_empty() && !self.rule.hosts.iter().any(|host| host.contains('*'))
    }

    fn regex(&self) -> bool {
        self.paths.iter().any(|path| path.starts_with('~'))
    }

    fn length(&self) -> usize {
        if self.regex() { 0 } else { self.paths.first().map_or(0, |path| path.len()) }
    }

    fn priority(&self) -> i64 {
        if self.regex() { self.rule.regex_priority } else { 0 }
    }

    fn documented(&self) -> impl Ord + use<> {
        Reverse((
            self.kinds(),
            self.plain_hosts(),
            self.rule.headers.len(),
            self.regex(),
            self.priority(),
            self.length(),
            self.id,
        ))
    }

    /// With multiplications instead of shifts.
    fn kong39(&self) -> impl Ord + use<> {
        let words = [
            self.kinds() as i64 * 0x2000_0000,
            self.rule.headers.len() as i64 * 0x10_0000,
            self.priority() * 0x8_0000,
            self.length() as i64,
        ];
        let low = words.iter().fold(0, |low, word| low | *word as i32);
        let plain = if self.plain_hosts() { 1_u64 << 60 } else { 0 };
        let regex = if self.regex() { 1_u64 << 51 } else { 0 };
        Reverse((i64::from(low) as u64 | plain | regex, self.id))
    }

    fn fits(&self, request: &Request) -> Option<Option<usize>> {
        let rule = self.rule;
        let method = request.method.as_str();
        let fits = any_or_empty(&rule.methods, |own| own == method)
            && any_or_empty(&rule.hosts, |own| host_fits(own, request))
            && rule.headers.iter().all(|(name, values)| {
                let mut own = request.headers.get_all(name.as_str()).iter();
                own.any(|value| values.iter().any(|v| value_fits(v, value)))
            })
            && (!request.secure || any_or_empty(&rule.snis, |own| sni_fits(own, request.sni)));
        if !fits {
            return None;
        }
        if self.paths.is_empty() {
            return Some(None);
        }
        self.paths.iter().find_map(|path| path_fits(path, request.path)).map(Some)
    }
}

fn any_or_empty(values: &[String], fits: impl Fn(&str) -> bool) -> bool {
    values.is_empty() || values.iter().any(|value| fits(value))
}

fn fold(name: &str) -> String {
    let lower = name.to_lowercase();
    match lower.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.into(),
        _ => lower,
    }
}

fn wildcard(pattern: &str, name: &str) -> bool {
    if let Some(tail) = pattern.strip_prefix('*') {
        return name.ends_with(tail) && name.len() > tail.len();
    }
    if let Some(head) = pattern.strip_suffix('*') {
        return name.starts_with(head) && name.len() > head.len();
    }
    name == pattern
}

fn host_fits(own: &str, request: &Request) -> bool {
    let (name, port) = match own.split_once(':') {
        Some((name, port)) => (name, Some(port.parse::<u16>().expect("a port"))),
        None => (own, None),
    };
    (port.is_none() || port == request.port) && wildcard(&fold(name), &fold(request.host))
}

fn sni_fits(own: &str, sni: Option<&str>) -> bool {
    sni.is_some_and(|sni| wildcard(&fold(own), &fold(sni)))
}

fn value_fits(own: &str, value: &HeaderValue) -> bool {
    let value = value.to_str().expect("text");
    match own.strip_prefix("~*") {
        Some(_) => REGEXES[own].is_match(value),
        None => own.to_lowercase() == value.to_lowercase(),
    }
}

/// Every expression of the alphabets, compiled once.
static REGEXES: LazyLock<HashMap<&str, Regex>> = LazyLock::new(|| {
    let regexes = PATHS.iter().chain(VALUES).filter_map(|text| {
        let (pattern, search) = match text.strip_prefix("~*") {
            Some(header) => (header.to_string(), true),
            None => (format!("^{}", text.strip_prefix('~')?), false),
        };
        let mut builder = RegexBuilder::new(&pattern);
        builder.case_insensitive(search);
        Some((*text, builder.build().expect("a regex")))
    });
    regexes.collect()
});

/// The paths of the alphabet that have another text for regular expressions than their spelling.
const DECODED: &[(&str, Option<&str>)] =
    &[("/%C3%BC", Some("/ü")), ("/a/%C3%BCc", Some("/a/üc")), ("/%FF/c", None), ("/a/%20", Some("/a/ "))];

fn path_fits(own: &str, path: &str) -> Option<usize> {
    if !own.starts_with('~') {
        let spelled = own.replace('ü', "%C3%BC");
        return path.starts_with(&spelled).then_some(spelled.len());
    }
    let decoded = DECODED.iter().find(|(spelled, _)| *spelled == path);
    let subject = match decoded {
        Some((_, subject)) => (*subject)?,
        None => path,
    };
    let found = REGEXES[own].find(subject)?;
    Some(found.as_str().replace('ü', "%C3%BC").replace(' ', "%20").len())
}

fn reference(rules: &[Rule], request: &Request, precedence: Precedence) -> Found {
    let mut parts = parts(rules);
    match precedence {
        Precedence::Documented => parts.sort_by_cached_key(|part| part.documented()),
        Precedence::Kong39 => parts.sort_by_cached_key(|part| part.kong39()),
    }
    parts.iter().find_map(|part| Some((part.index, part.fits(request)?)))
}

fn check(rules: Vec<Rule>, requests: &[Request], precedence: Precedence) {
    let router = Router::with_precedence(rules.clone(), precedence).expect("valid rules");
    for request in requests {
        let query = Query {
            method: &request.method,
            host: request.host,
            port: request.port,
            path: request.path,
            headers: &request.headers,
            sni: request.sni,
            secure: request.secure,
        };
        let found = router.find(&query);
        let fitting: Vec<usize> = router
            .explain(&query)
            .iter()
            .filter(|judged| judged.misfits.is_empty())
            .map(|judged| judged.rule)
            .collect();
        // What is told to people is what happens: of those that fit, one is taken.
        assert_eq!(found.is_some(), !fitting.is_empty(), "{request:?}");
        assert!(found.as_ref().is_none_or(|found| fitting.contains(&found.rule)), "{request:?}");
        let found = found.map(|found| (found.rule, found.matched.map(|range| range.len())));
        assert_eq!(found, reference(&rules, request, precedence), "{request:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1200))]

    #[test]
    fn the_index_finds_what_a_list_finds(rules in rules(), requests in vec(request(), 20)) {
        check(rules, &requests, Precedence::Documented);
    }

    #[test]
    fn so_it_does_in_kongs_own_order(rules in rules(), requests in vec(request(), 20)) {
        check(rules, &requests, Precedence::Kong39);
    }
}
