//! What goes into a router: the matching part of a route, and what may be wrong with it.

use std::fmt;

use uuid::Uuid;

/// The matching part of a route. An empty list means that the attribute is not looked at.
///
/// Protocols are absent on purpose: a route for `https` alone is found on plain HTTP too, and it
/// is the proxy that answers with an upgrade or a redirect.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The route's id; the greater one wins where nothing else tells two routes apart.
    pub id: Uuid,
    /// Method names, compared exactly.
    pub methods: Vec<String>,
    /// Host names, with an optional wildcard as the first or last label and an optional port.
    pub hosts: Vec<String>,
    /// Path prefixes, or regular expressions behind a `~`.
    pub paths: Vec<String>,
    /// Header names and the values of which one must be present; `~*` begins a regular expression.
    pub headers: Vec<(String, Vec<String>)>,
    /// Server names, with an optional wildcard at the start or the end.
    pub snis: Vec<String>,
    /// Orders routes with regular expressions among themselves, the greatest first.
    pub regex_priority: i64,
}

/// One thing wrong with one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The rule's place in the list given to the router.
    pub rule: usize,
    /// The field, as the route entity calls it; `headers.<name>` for the values of a header.
    pub field: String,
    /// The value's place in the field, from 0.
    pub position: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}[{}]: {}", self.rule, self.field, self.position, self.message)
    }
}

impl std::error::Error for RuleError {}
