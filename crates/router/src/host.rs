//! The first step of a lookup: from the request's host to the path trees that may hold its route.

use std::collections::HashMap;

use crate::group::Group;
use crate::hash::Map;
use crate::name::Name;
use crate::path::{Forest, Tree};

/// From host names to trees.
#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    exact: Map<Box<[u8]>, Ports>,
    /// Keys begin with the dot in front of the labels that are given.
    tails: Map<Box<[u8]>, Ports>,
    /// Keys end with the dot behind the labels that are given.
    heads: Map<Box<[u8]>, Ports>,
    /// No wildcard is longer, so that a host of a hundred labels is not hashed a hundred times.
    longest_tail: usize,
    longest_head: usize,
}

/// The trees of one host name.
#[derive(Debug, Default)]
struct Ports {
    any: Option<Tree>,
    /// Sorted by port.
    own: Vec<(u16, Tree)>,
}

impl HostIndex {
    pub(crate) fn new(groups: &[Group], forest: &mut Forest) -> Self {
        let mut ranks = HashMap::<_, Vec<u32>>::new();
        for (rank, group) in (0..).zip(groups) {
            for host in &group.conditions.hosts {
                ranks.entry(host).or_default().push(rank);
            }
        }
        let mut index = Self::default();
        for (host, ranks) in ranks {
            let tree = forest.plant(ranks, groups);
            let ports = match &host.name {
                Name::Exact(name) => index.exact.entry(name.clone()),
                Name::Tail(tail) => {
                    index.longest_tail = index.longest_tail.max(tail.len());
                    index.tails.entry(tail.clone())
                }
                Name::Head(head) => {
                    index.longest_head = index.longest_head.max(head.len());
                    index.heads.entry(head.clone())
                }
            }
            .or_default();
            match host.port {
                None => ports.any = Some(tree),
                Some(port) => {
                    let at = ports.own.partition_point(|(other, _)| *other < port);
                    ports.own.insert(at, (port, tree));
                }
            }
        }
        index
    }

    /// Hands over each tree that a host, in lower case and without a final dot, leads to.
    pub(crate) fn each(&self, host: &[u8], port: Option<u16>, mut visit: impl FnMut(Tree)) {
        let mut ports = |found: Option<&Ports>| {
            let Some(found) = found else { return };
            if let Some(port) = port
                && let Ok(at) = found.own.binary_search_by_key(&port, |(own, _)| *own)
                && let Some((_, tree)) = found.own.get(at)
            {
                visit(*tree);
            }
            if let Some(tree) = found.any {
                visit(tree);
            }
        };
        ports(self.exact.get(host));
        // the star stands for at least one character, hence no dot at either end
        if self.longest_tail > 0 {
            let first = host.len().saturating_sub(self.longest_tail).max(1);
            for at in dots(host, first..host.len()) {
                ports(host.get(at..).and_then(|tail| self.tails.get(tail)));
            }
        }
        if self.longest_head > 0 {
            let end = self.longest_head.min(host.len().saturating_sub(1));
            for at in dots(host, 0..end) {
                ports(host.get(..=at).and_then(|head| self.heads.get(head)));
            }
        }
    }
}

fn dots(host: &[u8], range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    let start = range.start;
    host.get(range)
        .unwrap_or_default()
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'.')
        .map(move |(at, _)| start + at)
}
