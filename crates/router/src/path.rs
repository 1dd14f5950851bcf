//! The second step of a lookup: radix trees over the bytes of paths.

use std::ops::Range;

use crate::cell::Cell;
use crate::group::{Group, Paths};
use crate::search::Search;

/// The path trees of all hosts.
///
/// They share three lists, because a walk over nodes that lie apart in memory waits for each: the
/// lists of first bytes and of labels stay in the processor's cache even with many thousand routes.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    nodes: Vec<Node>,
    /// The first byte of each node's label; those of the children of one node are sorted.
    firsts: Vec<u8>,
    labels: Vec<u8>,
}

/// The root of one tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree(usize);

/// Aligned, so that each step of a walk misses the processor's cache once at most.
#[derive(Debug)]
#[repr(align(64))]
struct Node {
    /// What leads here from the parent, its first byte included.
    label: Range<u32>,
    children: Range<u32>,
    /// The groups whose path or whose literal ends here.
    cell: Cell,
    /// The best rank here and below.
    best: u32,
}

const _: () = assert!(size_of::<Node>() == 64);

impl Forest {
    /// Adds a tree, with each group at the place that the path of a request must pass.
    pub(crate) fn plant(&mut self, ranks: Vec<u32>, groups: &[Group]) -> Tree {
        let mut places = Vec::new();
        for rank in ranks {
            let Some(group) = groups.get(rank as usize) else {
                continue;
            };
            match &group.paths {
                Paths::Any => places.push((&b""[..], rank)),
                Paths::Plain(paths) => {
                    places.extend(paths.iter().map(|path| (path.as_bytes(), rank)));
                }
                Paths::Regex(patterns) => {
                    places.extend(patterns.iter().map(|pattern| (&*pattern.prefix, rank)));
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        let root = self.nodes.len();
        self.reserve(1);
        self.fill(root, &places, 0, groups);
        Tree(root)
    }

    /// Makes room for nodes that must lie side by side.
    fn reserve(&mut self, count: usize) -> Range<u32> {
        let start = index(self.nodes.len());
        self.nodes.extend((0..count).map(|_| Node {
            label: 0..0,
            children: 0..0,
            cell: Cell::default(),
            best: u32::MAX,
        }));
        self.firsts.resize(self.nodes.len(), 0);
        start..index(self.nodes.len())
    }

    /// Builds one node and those below it, and returns the best rank among them.
    ///
    /// `places` are sorted and agree in their first `depth` bytes.
    fn fill(&mut self, at: usize, places: &[(&[u8], u32)], depth: usize, groups: &[Group]) -> u32 {
        let common = match (places.first(), places.last()) {
            (Some((first, _)), Some((last, _))) => first.iter().zip(*last).take_while(|(a, b)| a == b).count(),
            _ => 0,
        };
        let label = places.first().and_then(|(path, _)| path.get(depth..common));
        let label = label.unwrap_or_default();
        let start = index(self.labels.len());
        self.labels.extend_from_slice(label);
        if let (Some(slot), Some(first)) = (self.firsts.get_mut(at), label.first()) {
            *slot = *first;
        }
        let ending = places.partition_point(|(path, _)| path.len() == common);
        let (here, below) = places.split_at(ending);
        let cell = Cell::new(here.iter().map(|(_, rank)| *rank).collect(), groups);
        let chunks: Vec<_> = below.chunk_by(|(a, _), (b, _)| a.get(common) == b.get(common)).collect();
        let label = start..index(self.labels.len());
        let children = self.reserve(chunks.len());
        let mut best = cell.best();
        for (child, chunk) in children.clone().zip(chunks) {
            best = best.min(self.fill(child as usize, chunk, common, groups));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            *node = Node { label, children, cell, best };
        }
        best
    }

    /// Walks down the request's path and tries the groups it passes.
    pub(crate) fn visit(&self, tree: Tree, search: &mut Search<'_, '_>) {
        let mut next = self.nodes.get(tree.0);
        let mut rest = search.query.path.as_bytes();
        while let Some(node) = next
            && node.best < search.best
        {
            let label = self.labels.get(span(&node.label)).unwrap_or_default();
            let Some(behind) = rest.strip_prefix(label) else {
                return;
            };
            rest = behind;
            node.cell.visit(search);
            let firsts = self.firsts.get(span(&node.children)).unwrap_or_default();
            next = rest
                .first()
                .and_then(|byte| firsts.binary_search(byte).ok())
                .and_then(|at| self.nodes.get(node.children.start as usize + at));
        }
    }
}

/// Places are kept in 32 bits: a configuration of four gigabytes of paths would not be read.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn span(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
