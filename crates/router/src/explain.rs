//! Why a route does not take a request: every rule on its own, for people who ask. Lookups go another way.

use crate::Router;
use crate::fold::Fold;
use crate::group::{Group, Paths};
use crate::name::Name;
use crate::normalize::decoded;
use crate::query::Query;

/// What of a rule does not fit a request; nothing where all does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The rule's place in the list given to the router.
    pub rule: usize,
    /// Its place in the order, the first of its groups.
    pub rank: usize,
    pub misfits: Vec<Misfit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    Host,
    Path,
    Method,
    Headers,
    Sni,
}

impl Router {
    /// Judges every rule, in the order in which they are tried.
    #[must_use]
    pub fn explain(&self, query: &Query) -> Vec<Judged> {
        let mut all: Vec<Judged> = Vec::new();
        for (rank, group) in self.groups.iter().enumerate() {
            let misfits = misfits(group, query);
            match all.iter_mut().find(|judged| judged.rule == group.rule) {
                // Of the groups of one rule counts the one that fits best.
                Some(known) if misfits.len() < known.misfits.len() => known.misfits = misfits,
                Some(_) => {}
                None => all.push(Judged { rule: group.rule, rank, misfits }),
            }
        }
        all
    }
}

fn misfits(group: &Group, query: &Query) -> Vec<Misfit> {
    let conditions = &group.conditions;
    let (mut host, mut sni) = (Fold::new(), Fold::new());
    let host = host.name(query.host);
    let sni = query.secure.then(|| query.sni.map(|name| sni.name(name)));
    let fits_host = conditions.hosts.is_empty()
        || conditions.hosts.iter().any(|own| {
            own.port.is_none_or(|port| Some(port) == query.port)
                && match &own.name {
                    Name::Exact(name) => **name == *host,
                    // The star stands for at least one character.
                    Name::Tail(part) | Name::Head(part) => own.name.covers(host) && host.len() > part.len(),
                }
        });
    let fits_path = match &group.paths {
        Paths::Any => true,
        Paths::Plain(paths) => paths.iter().any(|path| query.path.starts_with(path.as_str())),
        Paths::Regex(patterns) => {
            decoded(query.path).is_some_and(|path| patterns.iter().any(|pattern| pattern.regex.is_match(&path)))
        }
    };
    let fits_method = conditions.methods.is_empty() || conditions.methods.contains(query.method);
    let fits_headers = conditions.headers.iter().all(|header| header.fits(query.headers));
    [
        (Misfit::Host, fits_host),
        (Misfit::Path, fits_path),
        (Misfit::Method, fits_method),
        (Misfit::Headers, fits_headers),
        (Misfit::Sni, conditions.fits_sni(sni)),
    ]
    .into_iter()
    .filter_map(|(misfit, fits)| (!fits).then_some(misfit))
    .collect()
}
