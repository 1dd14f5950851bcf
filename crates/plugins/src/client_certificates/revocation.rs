//! Lists of what authorities have revoked (RFC 5280 section 5), fetched from where their certificates say, and kept.

use net::CertificateRevocationListDer;
use net::fetch::Fetcher;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// For so long a list is not fetched again, and one that could not be had is not tried again.
const FRESH: Duration = Duration::from_secs(60);
const FAILED: Duration = Duration::from_secs(10);

struct Kept {
    list: Result<CertificateRevocationListDer<'static>, String>,
    until: Instant,
}

/// The memory for lists, in bytes.
const BYTES: u64 = 64 * 1024 * 1024;

static KEPT: LazyLock<Cache<String, Arc<Kept>, Size>> = LazyLock::new(|| Cache::with_weighter(100, BYTES, Size));

#[derive(Clone)]
struct Size;

impl Weighter<String, Arc<Kept>> for Size {
    fn weight(&self, url: &String, kept: &Arc<Kept>) -> u64 {
        (url.len() + 100 + kept.list.as_ref().map_or(0, |list| list.as_ref().len())) as u64
    }
}

/// A list by its place.
pub async fn fetch(fetcher: &Arc<Fetcher>, url: &str) -> Result<CertificateRevocationListDer<'static>, String> {
    if let Some(kept) = KEPT.get(url).filter(|kept| Instant::now() < kept.until) {
        return kept.list.clone();
    }
    let (own, place) = (fetcher.clone(), url.to_owned());
    let fetched = fetcher.run(async move { get(&own, &place).await }).await;
    let list = fetched.unwrap_or_else(|| Err("this process asks nobody".to_owned()));
    let until = Instant::now() + if list.is_ok() { FRESH } else { FAILED };
    KEPT.insert(url.to_owned(), Arc::new(Kept { list: list.clone(), until }));
    list
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<CertificateRevocationListDer<'static>, String> {
    let place = url.parse().map_err(|_| "this is no URL".to_owned())?;
    let document = fetcher.get(&place).await?;
    match document.status.as_u16() {
        200 => parse(&document.body),
        status => Err(format!("it answers {status}")),
    }
}

/// A list as PEM or DER.
pub fn parse(text: &[u8]) -> Result<CertificateRevocationListDer<'static>, String> {
    net::certificate::parse_revocation_list(text).ok_or_else(|| "this is no certificate revocation list".to_owned())
}
