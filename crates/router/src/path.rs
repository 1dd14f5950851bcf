//! The second step of a lookup: a radix tree over the bytes of paths.

use crate::cell::Cell;
use crate::group::{Group, Paths};
use crate::search::Search;

/// All groups of one host, each at the place that the path of a request must pass.
#[derive(Debug)]
pub(crate) struct PathTree {
    /// What leads here from the parent, its first byte included.
    label: Box<[u8]>,
    /// The first bytes of the children's labels, sorted.
    firsts: Box<[u8]>,
    children: Box<[PathTree]>,
    /// The groups whose path or whose literal ends here.
    cell: Cell,
    /// The best rank here and below.
    best: u32,
}

impl PathTree {
    pub(crate) fn new(ranks: Vec<u32>, groups: &[Group]) -> Self {
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
        Self::build(&places, 0, groups)
    }

    /// `places` are sorted and agree in their first `depth` bytes.
    fn build(places: &[(&[u8], u32)], depth: usize, groups: &[Group]) -> Self {
        let common = match (places.first(), places.last()) {
            (Some((first, _)), Some((last, _))) => {
                first.iter().zip(*last).take_while(|(a, b)| a == b).count()
            }
            _ => 0,
        };
        let label = places.first().and_then(|(path, _)| path.get(depth..common));
        let ending = places.partition_point(|(path, _)| path.len() == common);
        let (here, below) = places.split_at(ending);
        let cell = Cell::new(here.iter().map(|(_, rank)| *rank).collect(), groups);
        let children: Box<[Self]> = below
            .chunk_by(|(a, _), (b, _)| a.get(common) == b.get(common))
            .map(|chunk| Self::build(chunk, common, groups))
            .collect();
        let below_best = children.iter().map(|child| child.best).min();
        Self {
            label: label.unwrap_or_default().into(),
            firsts: children
                .iter()
                .filter_map(|child| child.label.first().copied())
                .collect(),
            best: cell.best().min(below_best.unwrap_or(u32::MAX)),
            children,
            cell,
        }
    }

    /// Walks down the request's path and tries the groups it passes.
    pub(crate) fn visit(&self, search: &mut Search<'_, '_>) {
        let mut node = self;
        let mut rest = search.query.path.as_bytes();
        while node.best < search.best {
            let Some(behind) = rest.strip_prefix(&*node.label) else {
                return;
            };
            rest = behind;
            node.cell.visit(search);
            let next = rest
                .first()
                .and_then(|byte| node.firsts.binary_search(byte).ok())
                .and_then(|at| node.children.get(at));
            let Some(next) = next else { return };
            node = next;
        }
    }
}
