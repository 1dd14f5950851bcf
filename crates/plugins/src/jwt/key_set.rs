//! The keys of an issuer, fetched from it and kept.
//!
//! Keys are fetched when the first token asks for them, and renewed in the background. While an issuer cannot be
//! reached, the last good keys stand; while there are none, tokens can be neither believed nor refused, and that
//! is what callers are told (503).

use crate::endpoint::max_age;
use arc_swap::ArcSwapOption;
use http::Uri;
use jose::{Algorithm, JwkSet};
use net::fetch::{Document, Fetcher};
use net::shared::Shared;
use schema::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The key set itself (RFC 7517 section 5).
    Keys(Uri),
    /// The issuer, whose metadata name the key set (OpenID Connect Discovery 1.0 section 4).
    Discovery(String),
}

/// The keys of one source, for all placements that name it.
pub struct KeySet {
    source: Source,
    /// The last that were fetched. Read for each token, so without a lock.
    good: ArcSwapOption<Good>,
    tries: Mutex<Tries>,
    /// Held by the one who fetches; the others wait for it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Keys that were fetched.
struct Good {
    keys: Arc<JwkSet>,
    /// Of the document that they came in.
    hash: [u8; 32],
    fresh_until: Instant,
    stale_until: Instant,
}

/// When keys were fetched, or were to be.
#[derive(Clone, Copy, Default)]
struct Tries {
    last: Option<Instant>,
    last_failed: bool,
    /// The last time because of a key that was not in the set.
    for_unknown: Option<Instant>,
}

/// No keys are known.
#[derive(Debug)]
pub struct Unavailable {
    pub retry_after_s: u64,
}

/// After this time keys are renewed, unless the issuer's Cache-Control says otherwise; and its bounds.
const FRESH: Duration = Duration::from_secs(5 * 60);
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// For so long the last good keys stand while the issuer cannot be reached.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// For so long keys are used while they are being renewed.
const GRACE: Duration = Duration::from_secs(60);
/// A key that is not in the set is asked for no more often than this. Anybody can name one.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// After a failure the issuer is left alone for this time.
const BACK_OFF: Duration = Duration::from_secs(2);

/// Every key set in use: a new configuration goes on with the keys that are known.
static ALL: Shared<Source, KeySet> = Shared::new();

impl KeySet {
    /// The keys of this source. Nothing is fetched yet.
    pub fn of(source: Source) -> Arc<KeySet> {
        ALL.get_or(source, |source| {
            let (good, tries) = (ArcSwapOption::empty(), Mutex::default());
            KeySet { source, good, tries, fetching: Arc::default() }
        })
    }

    /// The keys in force, for a token with this key. If it is not among them, they are fetched once more, in case
    /// the issuer has a new one.
    pub async fn keys(
        self: &Arc<KeySet>,
        fetcher: &Arc<Fetcher>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<JwkSet>, Unavailable> {
        let began = Instant::now();
        // Read before the keys: they are at least as new.
        let tries = *self.tries();
        let known = self.good(began);
        let listed = known.as_ref().is_some_and(|good| !good.keys.candidates(kid, algorithm).is_empty());
        if let Some(good) = known.as_ref().filter(|good| listed && self.may_be_used(good, began)) {
            self.renew_in_time(fetcher, good, began);
            return Ok(good.keys.clone());
        }
        let since = |then: Option<Instant>| then.map_or(Duration::MAX, |then| began.saturating_duration_since(then));
        match &known {
            Some(good) if !listed && since(tries.for_unknown) < COOL_DOWN => return Ok(good.keys.clone()),
            None if since(tries.last) < BACK_OFF => return Err(Unavailable { retry_after_s: BACK_OFF.as_secs() }),
            _ => {}
        }
        let turn = self.fetching.clone().lock_owned().await;
        // Whoever had the turn before may have fetched what is wanted, only just.
        let now = self.good(Instant::now()).filter(|good| !good.keys.candidates(kid, algorithm).is_empty());
        if let Some(good) = now.filter(|good| self.may_be_used(good, began)) {
            return Ok(good.keys.clone());
        }
        if self.tries().last.is_none_or(|last| last < began) {
            fetcher.run(self.clone().renew(fetcher.clone(), turn, known.is_some() && !listed)).await;
        }
        let renewed = self.good(Instant::now());
        renewed.map(|good| good.keys.clone()).ok_or(Unavailable { retry_after_s: BACK_OFF.as_secs() })
    }

    /// Whether these are still the keys in force: what was verified with them is verified.
    pub fn are_in_force(self: &Arc<KeySet>, fetcher: &Arc<Fetcher>, keys: &Arc<JwkSet>) -> bool {
        let now = Instant::now();
        let same = |good: &Arc<Good>| Arc::ptr_eq(&good.keys, keys) && self.may_be_used(good, now);
        let Some(good) = self.good(now).filter(same) else { return false };
        self.renew_in_time(fetcher, &good, now);
        true
    }

    fn good(&self, now: Instant) -> Option<Arc<Good>> {
        self.good.load_full().filter(|good| now < good.stale_until)
    }

    /// Whether keys can be used without asking again first: they are fresh, or only just not any more, or nobody
    /// answers. A gate that was idle for hours asks whether they still hold.
    fn may_be_used(&self, good: &Good, now: Instant) -> bool {
        now < good.fresh_until + GRACE || self.tries().last_failed
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to renew keys that are over their time. Nobody waits for it.
    fn renew_in_time(self: &Arc<KeySet>, fetcher: &Arc<Fetcher>, good: &Good, now: Instant) {
        if now < good.fresh_until {
            return;
        }
        let tries = *self.tries();
        if tries.last_failed && tries.last.is_some_and(|last| now < last + BACK_OFF) {
            return;
        }
        if let Ok(turn) = self.fetching.clone().try_lock_owned() {
            fetcher.start(self.clone().renew(fetcher.clone(), turn, false));
        }
    }

    async fn renew(self: Arc<KeySet>, fetcher: Arc<Fetcher>, _turn: OwnedMutexGuard<()>, for_unknown: bool) {
        let fetched = fetch(&self.source, &fetcher).await;
        let (at, source) = (Instant::now(), &self.source);
        let failed = fetched.is_err();
        let before = self.good.load_full();
        match fetched {
            Ok((keys, hash, fresh)) => {
                // The same document is the same set: what was verified with it stays verified.
                let same = before.filter(|good| good.hash == hash).map(|good| good.keys.clone());
                let keys = same.unwrap_or_else(|| Arc::new(keys));
                let good = Good { keys, hash, fresh_until: at + fresh, stale_until: at + fresh + STALE };
                self.good.store(Some(Arc::new(good)));
            }
            Err(reason) if before.is_some() => {
                tracing::warn!(%source, "keys cannot be renewed, the last good ones stand: {reason}");
            }
            Err(reason) => tracing::error!(%source, "no keys, so tokens cannot be verified: {reason}"),
        }
        // Last, and not before: who sees that it was tried must see its outcome, and waits for it until then.
        let mut tries = self.tries();
        (tries.last, tries.last_failed) = (Some(at), failed);
        tries.for_unknown = if for_unknown { Some(at) } else { tries.for_unknown };
    }
}

async fn fetch(source: &Source, fetcher: &Fetcher) -> Result<(JwkSet, [u8; 32], Duration), String> {
    let url = match source {
        Source::Keys(url) => url.clone(),
        Source::Discovery(issuer) => discover(issuer, fetcher).await?,
    };
    let document = get(&url, fetcher).await?;
    let keys = JwkSet::parse(&document.body).map_err(|error| format!("{url}: {error}"))?;
    if keys.is_empty() {
        return Err(format!("{url}: none of its keys can be used"));
    }
    let fresh = max_age(&document.headers).unwrap_or(FRESH).clamp(SHORTEST, LONGEST);
    Ok((keys, jose::digest::sha256(&document.body), fresh))
}

/// The place of an issuer's keys. An issuer that calls itself otherwise is another one.
async fn discover(issuer: &str, fetcher: &Fetcher) -> Result<Uri, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let document = get(&url, fetcher).await?;
    let metadata: Value = serde_json::from_slice(&document.body).map_err(|error| format!("{url}: {error}"))?;
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(format!("{url}: it is not the metadata of {issuer}"));
    }
    let keys = metadata.get("jwks_uri").and_then(Value::as_str).ok_or_else(|| format!("{url}: it has no jwks_uri"))?;
    let keys: Uri = keys.parse().map_err(|error| format!("{url}: its jwks_uri: {error}"))?;
    if url.scheme_str() == Some("https") && keys.scheme_str() != Some("https") {
        return Err(format!("{url}: its jwks_uri is not https"));
    }
    Ok(keys)
}

async fn get(url: &Uri, fetcher: &Fetcher) -> Result<Document, String> {
    let document = fetcher.get(url).await.map_err(|error| format!("{url}: {error}"))?;
    match document.status.as_u16() {
        200 => Ok(document),
        status => Err(format!("{url}: it answers {status}")),
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Source::Keys(url) => write!(f, "{url}"),
            Source::Discovery(issuer) => f.write_str(issuer),
        }
    }
}
