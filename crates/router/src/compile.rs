//! From the rules of a configuration to groups in order of rank.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, Method};
use uuid::Uuid;

use crate::group::{Conditions, Group, Header, Paths};
use crate::name::{Host, Name};
use crate::normalize::spelled;
use crate::pattern::Patterns;
use crate::rank::{Criteria, Precedence};
use crate::rule::{Rule, RuleError};

/// The namespace in which Kong names the parts of a route it splits. It decides ties, so it is
/// part of the order.
const PARTS: Uuid = Uuid::from_u128(0x7f14_5bf9_0dce_4f91_98eb_debb_ce4b_9f6b);

/// All groups of all rules, the best first.
pub(crate) fn groups(rules: &[Rule], precedence: Precedence) -> Result<Vec<Group>, Vec<RuleError>> {
    let mut compiler = Compiler::default();
    let mut groups = Vec::with_capacity(rules.len());
    for (rule, source) in rules.iter().enumerate() {
        compiler.rule = rule;
        compiler.add(source, precedence, &mut groups);
    }
    if !compiler.errors.is_empty() {
        return Err(compiler.errors);
    }
    // two equal keys can only come of a repeated id: the first rule wins
    groups.sort_by_key(|(key, _)| *key);
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

#[derive(Default)]
struct Compiler {
    rule: usize,
    patterns: Patterns,
    errors: Vec<RuleError>,
}

impl Compiler {
    fn add(&mut self, source: &Rule, precedence: Precedence, groups: &mut Vec<(crate::rank::Key, Group)>) {
        let conditions = Conditions {
            methods: self.each("methods", &source.methods, |_, text| {
                Method::from_bytes(text.as_bytes()).map_err(|_| format!("invalid method: '{text}'"))
            }),
            hosts: self.each("hosts", &source.hosts, |_, text| Host::parse(text)),
            headers: self.headers(source),
            snis: self.each("snis", &source.snis, |_, text| Name::server(text)),
        };
        let used = [
            !conditions.methods.is_empty(),
            !conditions.hosts.is_empty(),
            !conditions.headers.is_empty(),
            !conditions.snis.is_empty(),
            !source.paths.is_empty(),
        ];
        let hosts = &conditions.hosts;
        let criteria = Criteria {
            kinds: used.into_iter().map(u8::from).sum(),
            plain_hosts: !hosts.is_empty() && !hosts.iter().any(|host| host.name.is_wildcard()),
            headers: conditions.headers.len(),
            id: source.id,
            ..Criteria::default()
        };
        let conditions = Arc::new(conditions);
        for part in self.parts(source) {
            let key = Criteria {
                regex: matches!(part.paths, Paths::Regex(_)).then_some(source.regex_priority),
                path_length: part.length,
                id: part.id,
                ..criteria
            }
            .key(precedence);
            let group = Group::new(self.rule, Arc::clone(&conditions), part.paths);
            groups.push((key, group));
        }
    }

    fn headers(&mut self, source: &Rule) -> Vec<Header> {
        let mut headers = Vec::with_capacity(source.headers.len());
        for (position, (name, values)) in source.headers.iter().enumerate() {
            let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
                self.error("headers", position, format!("invalid header name: '{name}'"));
                continue;
            };
            let mut header = Header { name: parsed, plain: Vec::new(), regexes: Vec::new() };
            let field = format!("headers.{name}");
            header.regexes = self
                .each(&field, values, |compiler, value| match value.strip_prefix("~*") {
                    Some(regex) => compiler.patterns.header(regex).map(Some),
                    None => {
                        header.plain.push(value.to_ascii_lowercase().into_bytes().into());
                        Ok(None)
                    }
                })
                .into_iter()
                .flatten()
                .collect();
            headers.push(header);
        }
        headers
    }

    /// Splits the paths by kind and length, in the order in which each first occurs.
    fn parts(&mut self, source: &Rule) -> Vec<Part> {
        if source.paths.is_empty() {
            return vec![Part { id: source.id, length: 0, paths: Paths::Any }];
        }
        let mut order = Vec::new();
        let mut plain = BTreeMap::<usize, Vec<String>>::new();
        let regexes = self.each("paths", &source.paths, |compiler, path| {
            // no plain path has length 0: it has at least a slash
            let length = if path.starts_with('~') { 0 } else { path.len() };
            if !order.contains(&length) {
                order.push(length);
            }
            if let Some(regex) = path.strip_prefix('~') {
                return compiler.patterns.path(regex).map(Some);
            }
            if !path.starts_with('/') {
                return Err("should start with: / (fixed path) or ~/ (regex path)".into());
            }
            plain.entry(length).or_default().push(spelled(path));
            Ok(None)
        });
        let mut regexes = Some(regexes.into_iter().flatten().collect());
        let split = order.len() > 1;
        let parts = order.into_iter().enumerate().map(|(number, length)| Part {
            id: if split {
                let name = format!("{}#{}", source.id, number + 1);
                Uuid::new_v5(&PARTS, name.as_bytes())
            } else {
                source.id
            },
            length,
            paths: match plain.remove(&length) {
                Some(paths) => Paths::Plain(paths),
                None => Paths::Regex(regexes.take().unwrap_or_default()),
            },
        });
        parts.collect()
    }

    /// Reads each value of a field, and keeps the error of each that cannot be read.
    fn each<T>(
        &mut self,
        field: &str,
        values: &[String],
        mut read: impl FnMut(&mut Self, &str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut out = Vec::with_capacity(values.len());
        for (position, value) in values.iter().enumerate() {
            match read(self, value) {
                Ok(value) => out.push(value),
                Err(message) => self.error(field, position, message),
            }
        }
        out
    }

    fn error(&mut self, field: &str, position: usize, message: String) {
        self.errors.push(RuleError { rule: self.rule, field: field.into(), position, message });
    }
}

/// The paths of one group to be, and what its rank depends on.
struct Part {
    id: Uuid,
    length: usize,
    paths: Paths,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(paths: &[&str]) -> Rule {
        Rule { paths: paths.iter().map(ToString::to_string).collect(), ..Rule::default() }
    }

    #[test]
    fn a_rule_is_split_by_kind_and_length() {
        fn check(paths: &[&str], expected: &[(usize, usize)]) {
            let found: Vec<_> = Compiler::default()
                .parts(&rule(paths))
                .iter()
                .map(|part| match &part.paths {
                    Paths::Any => (part.length, 0),
                    Paths::Plain(paths) => (part.length, paths.len()),
                    Paths::Regex(paths) => (part.length, paths.len()),
                })
                .collect();
            assert_eq!(found, expected, "{paths:?}");
        }
        check(&[], &[(0, 0)]);
        check(&["/a"], &[(2, 1)]);
        check(&["/a", "/b"], &[(2, 2)]);
        check(&["~/a", "/b", "~/c", "/dd", "/e"], &[(0, 2), (2, 2), (3, 1)]);
        // ranked by the length of what the route says, not of its spelling
        check(&["/ü", "/ab"], &[(3, 2)]);
    }

    /// The second id is that of Kong: uuid v5 of `<id>#2`.
    #[test]
    fn parts_have_ids_of_their_own() {
        let parts = Compiler::default().parts(&rule(&["/a", "/bb"]));
        let name = "00000000-0000-0000-0000-000000000000#2";
        let expected = Uuid::new_v5(&PARTS, name.as_bytes());
        assert_eq!(parts.get(1).map(|part| part.id), Some(expected));
        let whole = Compiler::default().parts(&rule(&["/a", "/b"]));
        assert_eq!(whole.first().map(|part| part.id), Some(Uuid::nil()));
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let strings = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        let bad = Rule {
            methods: strings(&["GET", "G T"]),
            hosts: strings(&["a.test", "a*b", "*"]),
            paths: strings(&["/a", "b", "~/(a"]),
            headers: vec![("x y".into(), strings(&["1"])), ("X-A".into(), strings(&["1", "~*("]))],
            snis: strings(&["a*b"]),
            ..Rule::default()
        };
        let errors = groups(&[rule(&["/"]), bad], Precedence::Documented).expect_err("errors");
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let label = "invalid wildcard: must be placed at leftmost or rightmost label";
        let expected = [
            "rule 1: methods[1]: invalid method: 'G T'".into(),
            format!("rule 1: hosts[1]: {label}"),
            format!("rule 1: hosts[2]: {label}"),
            "rule 1: headers[0]: invalid header name: 'x y'".into(),
            "rule 1: headers.X-A[1]: invalid regex: '(' (unclosed group)".into(),
            "rule 1: snis[0]: wildcard must be leftmost or rightmost character".into(),
            "rule 1: paths[1]: should start with: / (fixed path) or ~/ (regex path)".into(),
            "rule 1: paths[2]: invalid regex: '/(a' (unclosed group)".into(),
        ];
        assert_eq!(found, expected);
    }
}
