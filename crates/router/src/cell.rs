//! The third step of a lookup: groups that stand at one place, told apart by header, method, SNI.

use http::{HeaderName, Method};

use crate::fold::Fold;
use crate::group::{Group, Header};
use crate::hash::Map;
use crate::name::Name;
use crate::search::Search;

/// So many groups are tried one by one; a map would not pay.
const FEW: usize = 4;

/// The groups at one node of a path tree.
#[derive(Debug)]
pub(crate) enum Cell {
    /// By far the most frequent, so it shall not lead to another place in memory.
    One(u32),
    /// Sorted by rank.
    List(Box<[u32]>),
    Split(Box<Split>),
}

/// Groups divided by one attribute.
#[derive(Debug)]
pub(crate) struct Split {
    best: u32,
    keyed: Keyed,
    /// Groups that do not use the attribute in a way that can be looked up.
    rest: Cell,
}

#[derive(Debug)]
enum Keyed {
    Header(Map<HeaderName, Map<Box<[u8]>, Cell>>),
    Method(Map<Method, Cell>),
    Sni {
        names: Map<Box<[u8]>, Cell>,
        /// The same groups once more, for requests whose SNI is not looked at.
        all: Box<[u32]>,
    },
}

/// The attributes, in the order in which they divide.
#[derive(Clone, Copy)]
enum Attribute {
    Header,
    Method,
    Sni,
}

impl Default for Cell {
    fn default() -> Self {
        Self::List(Box::default())
    }
}

impl Cell {
    pub(crate) fn new(ranks: Vec<u32>, groups: &[Group]) -> Self {
        Self::divide(ranks, groups, Attribute::Header)
    }

    fn divide(mut ranks: Vec<u32>, groups: &[Group], by: Attribute) -> Self {
        ranks.sort_unstable();
        ranks.dedup();
        match ranks.as_slice() {
            [one] => return Self::One(*one),
            few if few.len() <= FEW => return Self::List(ranks.into()),
            _ => {}
        }
        let best = ranks.first().copied().unwrap_or(u32::MAX);
        let mut rest = Vec::new();
        let with_groups = ranks.iter().filter_map(|&rank| Some((rank, groups.get(rank as usize)?)));
        let (next, keyed) = match by {
            Attribute::Header => {
                let next = Some(Attribute::Method);
                (next, by_header(with_groups.collect(), groups, &mut rest))
            }
            Attribute::Method => {
                let mut methods = Map::<_, Vec<u32>>::default();
                for (rank, group) in with_groups {
                    let own = &group.conditions.methods;
                    if own.is_empty() {
                        rest.push(rank);
                    }
                    for method in own {
                        methods.entry(method.clone()).or_default().push(rank);
                    }
                }
                let cells = divide_each(methods, groups, Attribute::Sni);
                (Some(Attribute::Sni), Keyed::Method(cells))
            }
            Attribute::Sni => {
                let mut names = Map::<Box<[u8]>, Vec<u32>>::default();
                let mut all = Vec::new();
                for (rank, group) in with_groups {
                    let snis = &group.conditions.snis;
                    if snis.is_empty() || snis.iter().any(Name::is_wildcard) {
                        rest.push(rank);
                        continue;
                    }
                    all.push(rank);
                    for sni in snis {
                        if let Name::Exact(name) = sni {
                            names.entry(name.clone()).or_default().push(rank);
                        }
                    }
                }
                let names = names.into_iter().map(|(name, ranks)| (name, Self::List(sorted(ranks)))).collect();
                let all = all.into();
                (None, Keyed::Sni { names, all })
            }
        };
        let nothing_keyed = rest.len() == ranks.len();
        let rest = match next {
            Some(next) => Self::divide(rest, groups, next),
            None => Self::List(rest.into()),
        };
        if nothing_keyed {
            return rest;
        }
        Self::Split(Box::new(Split { best, keyed, rest }))
    }

    /// The best rank inside.
    pub(crate) fn best(&self) -> u32 {
        match self {
            Self::One(rank) => *rank,
            Self::List(ranks) => ranks.first().copied().unwrap_or(u32::MAX),
            Self::Split(split) => split.best,
        }
    }

    /// Tries the groups that the request's headers, method and SNI lead to.
    pub(crate) fn visit(&self, search: &mut Search<'_, '_>) {
        match self {
            Self::One(rank) => search.try_each(&[*rank]),
            Self::List(ranks) => search.try_each(ranks),
            Self::Split(split) if split.best < search.best => {
                split.keyed.visit(search);
                split.rest.visit(search);
            }
            Self::Split(_) => {}
        }
    }
}

impl Keyed {
    fn visit(&self, search: &mut Search<'_, '_>) {
        match self {
            Self::Header(names) => {
                let headers = search.query.headers;
                let mut fold = Fold::new();
                let mut value = |values: &Map<Box<[u8]>, Cell>, value: &http::HeaderValue| {
                    if let Some(cell) = values.get(fold.lower(value.as_bytes())) {
                        cell.visit(search);
                    }
                };
                // whichever are fewer: the names routes ask for, or those the request brings
                if names.len() <= headers.keys_len() {
                    for (name, values) in names {
                        for own in headers.get_all(name) {
                            value(values, own);
                        }
                    }
                } else {
                    for (name, own) in headers {
                        if let Some(values) = names.get(name) {
                            value(values, own);
                        }
                    }
                }
            }
            Self::Method(methods) => {
                if let Some(cell) = methods.get(search.query.method) {
                    cell.visit(search);
                }
            }
            Self::Sni { names, all } => match search.sni {
                None => search.try_each(all),
                Some(None) => {}
                Some(Some(name)) => {
                    if let Some(cell) = names.get(name) {
                        cell.visit(search);
                    }
                }
            },
        }
    }
}

fn sorted(mut ranks: Vec<u32>) -> Box<[u32]> {
    ranks.sort_unstable();
    ranks.dedup();
    ranks.into()
}

fn divide_each<K: std::hash::Hash + Eq>(ranks: Map<K, Vec<u32>>, groups: &[Group], by: Attribute) -> Map<K, Cell> {
    ranks.into_iter().map(|(key, ranks)| (key, Cell::divide(ranks, groups, by))).collect()
}

/// Puts each group under the values of one header, the one that the fewest others share.
fn by_header(members: Vec<(u32, &Group)>, groups: &[Group], rest: &mut Vec<u32>) -> Keyed {
    let mut shared = Map::<(&HeaderName, &[u8]), usize>::default();
    for (_, group) in &members {
        for header in group.conditions.headers.iter().filter(|h| can_be_looked_up(h)) {
            for value in &header.plain {
                *shared.entry((&header.name, &**value)).or_default() += 1;
            }
        }
    }
    let crowd = |header: &&Header| -> usize {
        let keys = header.plain.iter().map(|value| (&header.name, &**value));
        keys.filter_map(|key| shared.get(&key)).sum()
    };
    let mut names = Map::<HeaderName, Map<Box<[u8]>, Vec<u32>>>::default();
    for (rank, group) in &members {
        let headers = group.conditions.headers.iter();
        let Some(header) = headers.filter(|h| can_be_looked_up(h)).min_by_key(crowd) else {
            rest.push(*rank);
            continue;
        };
        let values = names.entry(header.name.clone()).or_default();
        for value in &header.plain {
            values.entry(value.clone()).or_default().push(*rank);
        }
    }
    let cells =
        names.into_iter().map(|(name, values)| (name, divide_each(values, groups, Attribute::Method))).collect();
    Keyed::Header(cells)
}

fn can_be_looked_up(header: &Header) -> bool {
    header.regexes.is_empty() && !header.plain.is_empty()
}
