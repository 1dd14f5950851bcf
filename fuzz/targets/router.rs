//! Routes and requests: no rule and no path makes the router fail, and a path has one spelling.

#![no_main]

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use router::{Precedence, Query, Router, Rule};
use uuid::Uuid;

/// Lines: the first is the request, `HOST PATH`; each of the others is a rule in the same form.
fuzz_target!(|text: &str| {
    let mut lines = text.lines().take(12).map(|line| line.split_once(' ').unwrap_or(("", line)));
    let Some((host, path)) = lines.next() else { return };
    let normal = router::normalize(path);
    assert_eq!(router::normalize(&normal), normal, "a path has one spelling");
    let rule = |(index, (host, path)): (usize, (&str, &str))| Rule {
        id: Uuid::from_u128(index as u128 + 1),
        methods: Vec::new(),
        hosts: if host.is_empty() { Vec::new() } else { vec![host.to_owned()] },
        paths: vec![path.to_owned()],
        headers: Vec::new(),
        snis: Vec::new(),
        regex_priority: 0,
    };
    let rules: Vec<Rule> = lines.enumerate().map(rule).collect();
    let Ok(router) = Router::with_precedence(rules, Precedence::Kong39) else { return };
    let (method, headers) = (Method::GET, HeaderMap::new());
    let query = Query { method: &method, host, port: None, path: &normal, headers: &headers, sni: None, secure: false };
    if let Some(found) = router.find(&query) {
        let rest = found.rest(&normal);
        assert!(normal.ends_with(rest));
    }
});
