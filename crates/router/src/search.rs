//! One lookup: the candidate in hand, and what is computed only when a group asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use crate::Router;
use crate::fold::Fold;
use crate::group::{Group, Paths};
use crate::normalize::{decoded, place};
use crate::pattern::Pattern;
use crate::query::{Match, Query};

/// The state of a lookup; `'a` is the router and the request, `'s` the folded names.
pub(crate) struct Search<'a, 's> {
    pub(crate) query: &'s Query<'a>,
    /// `None` where SNIs are not looked at, inside empty where the client sent none.
    pub(crate) sni: Option<Option<&'s [u8]>>,
    /// The best rank so far that fits.
    pub(crate) best: u32,
    groups: &'a [Group],
    /// How the candidate's regular expression matched.
    hit: Option<Hit<'a>>,
    subject: OnceCell<Option<Cow<'a, str>>>,
}

struct Hit<'a> {
    pattern: &'a Pattern,
    range: Range<usize>,
}

/// Looks a request up.
pub(crate) fn run<'a>(router: &'a Router, query: &Query<'a>) -> Option<Match<'a>> {
    let (mut host, mut sni) = (Fold::new(), Fold::new());
    let sni = query.secure.then(|| query.sni.map(|name| sni.name(name)));
    let mut search = Search { query, sni, best: u32::MAX, groups: &router.groups, hit: None, subject: OnceCell::new() };
    let forest = &router.forest;
    router.hosts.each(host.name(query.host), query.port, |tree| {
        forest.visit(tree, &mut search);
    });
    forest.visit(router.anywhere, &mut search);
    search.finish()
}

impl<'a> Search<'a, '_> {
    /// Tries groups in order of rank until one fits or none can be better than what is in hand.
    pub(crate) fn try_each(&mut self, ranks: &[u32]) {
        for &rank in ranks {
            if rank >= self.best {
                return;
            }
            let groups = self.groups;
            if let Some(group) = groups.get(rank as usize)
                && self.fits(group)
            {
                self.best = rank;
                return;
            }
        }
    }

    /// Whether a group fits; host and plain path do, or it would not have been found.
    fn fits(&mut self, group: &'a Group) -> bool {
        let Query { method, headers, .. } = self.query;
        if group.conditional && !group.conditions.fit(method, headers, self.sni) {
            return false;
        }
        let Paths::Regex(patterns) = &group.paths else {
            self.hit = None;
            return true;
        };
        let Some(subject) = self.subject.get_or_init(|| decoded(self.query.path)) else {
            return false;
        };
        // the first in the route's order, whichever literal led here
        let hit = patterns.iter().find_map(|pattern| {
            let range = pattern.regex.find(subject)?.range();
            Some(Hit { pattern, range })
        });
        let fits = hit.is_some();
        if fits {
            self.hit = hit;
        }
        fits
    }

    fn finish(self) -> Option<Match<'a>> {
        let group = self.groups.get(self.best as usize)?;
        let path = self.query.path;
        let matched = match (&self.hit, &group.paths) {
            (Some(Hit { range, .. }), _) if path.contains('%') => {
                Some(place(path, range.start)..place(path, range.end))
            }
            (Some(Hit { range, .. }), _) => Some(range.clone()),
            (None, Paths::Plain(_)) if group.plain_length > 0 => Some(0..group.plain_length),
            (None, Paths::Plain(paths)) => {
                paths.iter().find(|own| path.starts_with(own.as_str())).map(|own| 0..own.len())
            }
            (None, _) => None,
        };
        Some(Match {
            rule: group.rule,
            matched,
            regex: self.hit.map(|hit| &hit.pattern.regex),
            subject: self.subject.into_inner().flatten().unwrap_or(Cow::Borrowed(path)),
        })
    }
}
