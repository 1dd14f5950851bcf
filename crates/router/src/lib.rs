//! Which route a request belongs to: the semantics of Kong's `traditional_compatible` router.
//!
//! The crate is pure: it is given rules and requests, and answers; it opens nothing and logs
//! nothing. A [`Router`] never changes after it is built, so it can be shared between threads.
//!
//! # Order
//!
//! Kong tries its routes one after the other, from the highest priority to the lowest, and takes
//! the first that fits. A route whose paths differ in length or kind counts as several here, one
//! for each length and one for all regular expressions; we call each such part a *group*. When a
//! router is built, all groups are sorted once; the place of a group in that order is its *rank*,
//! 0 being the best. The best of several candidates is then a comparison of two integers.
//!
//! # Index
//!
//! A lookup must not try group after group. It narrows down in three steps, each of which costs
//! the same whether there are ten routes or ten thousand:
//!
//! 1. **Host.** A hash map holds exact hosts, a second one the tails of `*.example.com`, a third
//!    the heads of `example.*`. The labels of the request's host are walked, so a host of four
//!    labels costs at most seven look-ups. Groups without a host stand in a tree of their own,
//!    which every request visits.
//! 2. **Path.** Each host leads to a radix tree over bytes. A plain path stands at the node that
//!    spells it, a regular expression at the node that spells the literal it must begin with, a
//!    group without paths at the root. One walk down the request's path passes every candidate,
//!    and no others.
//! 3. **Headers, method, SNI.** Where more than a handful of groups stand at one node, they are
//!    divided once more by the value of one of their headers, by method, and by SNI, again through
//!    hash maps.
//!
//! Every tree node and every division knows the best rank below it; what cannot beat the candidate in
//! hand is not entered. What remains after the three steps is tested in order of rank, and the
//! first that fits ends the list.
//!
//! What stays linear: regular expressions that begin with the same literal on the same host (they
//! are tried one by one), and groups that differ only by wildcard SNIs, by regular expressions
//! on headers, or by a second header.

mod cell;
mod compile;
mod explain;
mod fold;
mod group;
mod hash;
mod host;
mod join;
mod name;
mod normalize;
mod path;
mod pattern;
mod query;
mod rank;
mod rule;
mod search;

use std::sync::Arc;

use group::Group;
use host::HostIndex;
use path::{Forest, Tree};

pub use explain::{Judged, Misfit};
pub use join::{join_v0, join_v1};
pub use normalize::normalize;
pub use query::{Match, Query};
pub use rank::Precedence;
pub use rule::{Rule, RuleError};

/// An immutable index over all routes of a configuration.
#[derive(Clone, Debug)]
pub struct Router {
    /// A group's place in this list is its rank.
    groups: Arc<[Group]>,
    hosts: Arc<HostIndex>,
    forest: Arc<Forest>,
    /// The groups without a host.
    anywhere: Tree,
}

impl Router {
    /// Builds the index, with the precedence that Kong documents.
    ///
    /// # Errors
    ///
    /// All rules are looked at; each part that cannot be understood gives one error.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Vec<RuleError>> {
        Self::with_precedence(rules, Precedence::Documented)
    }

    /// Builds the index with a precedence of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`Router::new`].
    pub fn with_precedence(rules: Vec<Rule>, precedence: Precedence) -> Result<Self, Vec<RuleError>> {
        let groups = compile::groups(&rules, precedence)?;
        let every = 0..u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let mut forest = Forest::default();
        let hosts = HostIndex::new(&groups, &mut forest);
        let without_host =
            every.filter(|&rank| groups.get(rank as usize).is_some_and(|g| g.conditions.hosts.is_empty()));
        let anywhere = forest.plant(without_host.collect(), &groups);
        Ok(Self { groups: groups.into(), hosts: Arc::new(hosts), forest: Arc::new(forest), anywhere })
    }

    /// Finds the route that a request belongs to.
    pub fn find<'a>(&'a self, query: &Query<'a>) -> Option<Match<'a>> {
        search::run(self, query)
    }

    /// The number of groups, that is of routes after those with several kinds of paths are split.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is nothing to match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
