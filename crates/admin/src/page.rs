//! Lists, a page at a time.

use crate::call::Call;
use crate::error::Error;
use crate::query::{self, Query};
use crate::reply::{self, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema::{Value, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

const DEFAULT_SIZE: usize = 100;
const MAX_SIZE: usize = 1000;

/// The page of `items`, which are sorted by their keys.
///
/// An offset is the key of the page's first item, so that a configuration that changes in between
/// neither repeats an item nor hides one.
pub(crate) fn answer<K, T>(call: &Call, items: Vec<(K, T)>, show: impl Fn(&T) -> Value) -> Result<Response, Error>
where
    K: Ord + Serialize + DeserializeOwned,
{
    let size = size(&call.query)?;
    let start = match call.query.get("offset") {
        None => 0,
        Some(offset) => {
            let first: K = decode(offset)?;
            items.partition_point(|(key, _)| *key < first)
        }
    };
    let mut rest = items.iter().skip(start);
    let data: Vec<Value> = rest.by_ref().take(size).map(|(_, item)| show(item)).collect();
    let mut list = json!({ "data": data, "next": null });
    if let Some((key, _)) = rest.next() {
        let offset = URL_SAFE_NO_PAD.encode(json!(key).to_string());
        list["next"] = json!(next(call, &offset));
        list["offset"] = json!(offset);
    }
    Ok(reply::ok(&list))
}

fn size(query: &Query) -> Result<usize, Error> {
    let Some(size) = query.get("size") else { return Ok(DEFAULT_SIZE) };
    let number: f64 = size.parse().map_err(|_| Error::Size("size must be a number"))?;
    let fits = number.fract() == 0.0 && (1.0..=MAX_SIZE as f64).contains(&number);
    if fits { Ok(number as usize) } else { Err(Error::Size("size must be an integer between 1 and 1000")) }
}

fn decode<K: DeserializeOwned>(offset: &str) -> Result<K, Error> {
    let wrong = |why| Error::Offset { offset: offset.to_owned(), why };
    let bytes = URL_SAFE_NO_PAD.decode(offset).map_err(|_| wrong("bad base64 encoding"))?;
    serde_json::from_slice(&bytes).map_err(|_| wrong("bad json encoding"))
}

/// The path of the next page; what shaped this one shapes the next.
fn next(call: &Call, offset: &str) -> String {
    let path = call.path.strip_suffix('/').unwrap_or(call.path);
    let kept = ["tags", "size"].into_iter().filter_map(|name| Some((name, call.query.get(name)?)));
    kept.fold(format!("{path}?offset={offset}"), |next, (name, value)| {
        format!("{next}&{name}={}", query::encode(value))
    })
}
