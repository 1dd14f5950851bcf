//! The path sent upstream, from that of the service and that of the request.

/// Appends the path for `path_handling: v0`: the two parts with exactly one slash between them.
///
/// `service` is the service's path, `/` when it has none; `path` the whole normalised path of the
/// request; `rest` what [`crate::Match::rest`] leaves of it when the route strips, else `None`.
pub fn join_v0(service: &str, path: &str, rest: Option<&str>, out: &mut String) {
    let base = service.strip_suffix('/').unwrap_or(service);
    let tail = rest.unwrap_or(path);
    out.push_str(base);
    if tail.is_empty() || (rest.is_none() && tail == "/") {
        // nothing to add: a final slash stays if the service has one, or the request asked for it
        let slash = if rest.is_some() {
            path.ends_with('/') && (path.len() > 1 || service.ends_with('/'))
        } else {
            service.ends_with('/')
        };
        if slash || base.is_empty() {
            out.push('/');
        }
        return;
    }
    if !tail.starts_with('/') {
        out.push('/');
    }
    out.push_str(tail);
}

/// Appends the path for `path_handling: v1`: plain concatenation.
///
/// Kong offers it in its `traditional` flavor only.
pub fn join_v1(service: &str, path: &str, rest: Option<&str>, out: &mut String) {
    let tail = match rest {
        Some(rest) if service.ends_with('/') => rest.strip_prefix('/').unwrap_or(rest),
        Some(rest) => rest,
        None => path.strip_prefix('/').unwrap_or(path),
    };
    out.push_str(service);
    out.push_str(tail);
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use serde_json::Value;

    use super::*;
    use crate::{Query, Router, Rule, normalize};

    const TABLE: &str = include_str!("../../../kong/path_handling.json");

    fn check(row: &Value) {
        let text = |name: &str| row[name].as_str();
        let route_path = text("route_path");
        // a route needs something to match by
        let methods = if route_path.is_none() { vec!["GET".into()] } else { vec![] };
        let rule = Rule { methods, paths: route_path.into_iter().map(String::from).collect(), ..Rule::default() };
        let router = Router::new(vec![rule]).expect("a valid rule");
        let path = normalize(text("request_path").expect("request_path"));
        let headers = HeaderMap::new();
        let found = router
            .find(&Query {
                method: &Method::GET,
                host: "a.test",
                port: None,
                path: &path,
                headers: &headers,
                sni: None,
                secure: false,
            })
            .expect("a match");
        let strip = row["strip_path"].as_bool().expect("strip_path");
        let rest = strip.then(|| found.rest(&path));
        let join = match text("path_handling") {
            Some("v0") => join_v0,
            _ => join_v1,
        };
        let mut joined = String::new();
        join(text("service_path").expect("service_path"), &path, rest, &mut joined);
        assert_eq!(Some(joined.as_str()), text("expected_path"), "{row}");
    }

    #[test]
    fn every_row_of_kongs_table() {
        let rows: Vec<Value> = serde_json::from_str(TABLE).expect("a JSON array");
        assert_eq!(rows.len(), 212);
        rows.iter().for_each(check);
    }

    #[test]
    fn the_parts_meet_in_one_slash() {
        fn check(service: &str, path: &str, rest: Option<&str>, expected: &str) {
            let mut joined = String::from("x:");
            join_v0(service, path, rest, &mut joined);
            assert_eq!(joined.strip_prefix("x:"), Some(expected));
        }
        check("/base", "/a/b/", Some("/b/"), "/base/b/");
        check("/base", "/a/", Some(""), "/base/");
        check("/base/", "/a", Some(""), "/base");
        check("/base/", "/", Some(""), "/base/");
        check("/base", "/", Some(""), "/base");
        check("/", "/", Some(""), "/");
        check("/", "/a", Some(""), "/");
        check("/", "/a", Some("b"), "/b");
        check("/base/", "/", None, "/base/");
        check("/base", "/", None, "/base");
    }
}
