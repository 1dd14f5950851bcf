//! Tokens that were verified, so that none is verified twice.
//!
//! Each placement has its own: the verdict depends on its configuration. A change of that makes new placements, which start
//! with nothing. Whether the credential and the consumer are still what they were is asked with each token. Only tokens whose
//! signature is good get in, so nobody can fill the memory with junk; how long they are good for is asked
//! anew each time.

use crate::proof_of_possession::Binding;
use http::{HeaderName, HeaderValue};
use jose::{JwkSet, Object, claims};
use proxy::identity::Identity;
use proxy::registry::JwtCredential;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// A token's outcome.
#[derive(Clone)]
pub struct Verdict {
    pub identity: Identity,
    pub times: Times,
    pub by: By,
}

/// What a token was verified with.
#[derive(Clone)]
pub enum By {
    Credential(Arc<JwtCredential>),
    Issuer(Arc<Told>),
}

/// What an issuer's token told.
pub struct Told {
    pub issuer: String,
    /// The keys that it was verified with.
    pub keys: Arc<JwkSet>,
    pub leeway_s: f64,
    /// Its claims as services are told them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The groups of its caller, where a claim tells them.
    pub groups: Option<Vec<String>>,
    /// What its caller must prove to have, each time anew.
    pub binding: Binding,
}

impl Verdict {
    pub fn of_issuer(identity: Identity, claims: &Object, told: Told) -> Verdict {
        Verdict { identity, times: Times::of(claims), by: By::Issuer(Arc::new(told)) }
    }

    pub fn told(&self) -> Option<&Told> {
        if let By::Issuer(told) = &self.by { Some(told) } else { None }
    }
}

/// When a token is good, in seconds since 1970. A claim that is no number is as good as absent.
#[derive(Clone, Copy)]
pub struct Times {
    pub expires: Option<f64>,
    pub not_before: Option<f64>,
}

impl Times {
    pub fn of(claims: &Object) -> Times {
        let number = |name| claims::numeric_date(claims, name).ok().flatten();
        Times { expires: number("exp"), not_before: number("nbf") }
    }
}

/// The memory for tokens of one placement, in bytes: some 20,000 of the usual size.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
const USUAL_TOKENS: usize = 20_000;

/// Verdicts by token. The whole token is the key, so that no two can share a verdict.
pub struct Verdicts(Cache<Arc<str>, Known, Size>);

/// A verdict with its token, so that what keeps the token for longer need not copy it.
type Known = (Arc<str>, Verdict);

#[derive(Clone)]
struct Size;

impl Weighter<Arc<str>, Known> for Size {
    fn weight(&self, token: &Arc<str>, (_, verdict): &Known) -> u64 {
        let told = verdict.told().map_or(0, |told| {
            let headers: usize = told.headers.iter().map(|(_, value)| value.len() + size_of::<HeaderValue>()).sum();
            let groups: usize = told.groups.iter().flatten().map(|group| group.len() + size_of::<String>()).sum();
            size_of::<Told>() + headers + groups
        });
        (token.len() + size_of::<Known>() + told) as u64
    }
}

impl Verdicts {
    pub fn new() -> Verdicts {
        Verdicts(Cache::with_weighter(USUAL_TOKENS, MAX_BYTES, Size))
    }

    pub fn get(&self, token: &str) -> Option<Known> {
        self.0.get(token)
    }

    pub fn keep(&self, token: Arc<str>, verdict: Verdict) {
        self.0.insert(token.clone(), (token, verdict));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(expires: f64) -> Verdict {
        let identity = Identity { consumer: None, credential: None };
        let keys = Arc::new(JwkSet::parse(br#"{"keys":[]}"#).unwrap());
        let told = Told {
            issuer: String::new(),
            keys,
            leeway_s: 0.0,
            headers: Vec::new(),
            groups: None,
            binding: Binding::Nothing,
        };
        let times = Times { expires: Some(expires), not_before: None };
        Verdict { identity, times, by: By::Issuer(Arc::new(told)) }
    }

    #[test]
    fn a_verdict_is_for_its_token_alone() {
        let verdicts = Verdicts::new();
        verdicts.keep("a.b.c".into(), verdict(1.0));
        assert_eq!(verdicts.get("a.b.c").and_then(|(_, verdict)| verdict.times.expires), Some(1.0));
        for other in ["a.b.d", "a.b.c ", "a.b", ""] {
            assert!(verdicts.get(other).is_none(), "{other}");
        }
        assert!(Verdicts::new().get("a.b.c").is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let verdicts = Verdicts::new();
        let long = "x".repeat(16 * 1024);
        for number in 0..2_000 {
            verdicts.keep(format!("{long}{number}").into(), verdict(1.0));
        }
        assert!(verdicts.0.weight() <= MAX_BYTES, "{}", verdicts.0.weight());
    }
}
