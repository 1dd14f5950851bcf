//! One entry of the order: what a request must fulfil.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use regex::Regex;

use crate::name::{Host, Name};
use crate::pattern::Pattern;

/// A route, or the part of one whose paths share a length or are all regular expressions.
///
/// Aligned, so that a look-up of one of many thousand misses the processor's cache once.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group {
    /// The rule's place in the caller's list.
    pub(crate) rule: usize,
    /// Whether the conditions ask for more than a host; most do not, and are then not read.
    pub(crate) conditional: bool,
    /// The length that all plain paths have, 0 if their escapes make them differ.
    pub(crate) plain_length: usize,
    pub(crate) conditions: Arc<Conditions>,
    pub(crate) paths: Paths,
}

const _: () = assert!(size_of::<Group>() == 64);

impl Group {
    pub(crate) fn new(rule: usize, conditions: Arc<Conditions>, paths: Paths) -> Self {
        let plain_length = match &paths {
            Paths::Plain(paths) => {
                let mut lengths = paths.iter().map(String::len);
                let first = lengths.next().unwrap_or(0);
                if lengths.all(|length| length == first) { first } else { 0 }
            }
            _ => 0,
        };
        let Conditions { methods, headers, snis, .. } = &*conditions;
        Self {
            rule,
            conditional: !(methods.is_empty() && headers.is_empty() && snis.is_empty()),
            plain_length,
            conditions,
            paths,
        }
    }
}

/// The paths of one group.
#[derive(Clone, Debug)]
pub(crate) enum Paths {
    Any,
    /// In the spelling of a normal path.
    Plain(Vec<String>),
    Regex(Vec<Pattern>),
}

/// What all groups of a rule share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) methods: Vec<Method>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) headers: Vec<Header>,
    pub(crate) snis: Vec<Name>,
}

/// One header a route asks for; any of the values will do.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    /// In lower case.
    pub(crate) plain: Vec<Box<[u8]>>,
    pub(crate) regexes: Vec<Regex>,
}

impl Header {
    pub(crate) fn fits(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.name).iter().any(|value| self.allows(value))
    }

    fn allows(&self, value: &HeaderValue) -> bool {
        let bytes = value.as_bytes();
        if self.plain.iter().any(|own| own.eq_ignore_ascii_case(bytes)) {
            return true;
        }
        if self.regexes.is_empty() {
            return false;
        }
        std::str::from_utf8(bytes).is_ok_and(|text| self.regexes.iter().any(|regex| regex.is_match(text)))
    }
}

impl Conditions {
    /// Whether all but host and path fit; the index has seen to those.
    ///
    /// `sni` is `None` on a request that is not secure, and inside empty where the client named
    /// no server.
    pub(crate) fn fit(&self, method: &Method, headers: &HeaderMap, sni: Option<Option<&[u8]>>) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.fits_sni(sni)
            && self.headers.iter().all(|header| header.fits(headers))
    }

    pub(crate) fn fits_sni(&self, sni: Option<Option<&[u8]>>) -> bool {
        match sni {
            _ if self.snis.is_empty() => true,
            None => true,
            Some(None) => false,
            Some(Some(name)) => self.snis.iter().any(|own| own.covers(name)),
        }
    }
}
