//! Lists, a page at a time.

use crate::call::Call;
use crate::error::Error;
use crate::query::{self, Query};
use crate::reply::{self, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::rows::{self, Below, Tagged};
use model::{EntityKind, Row};
use schema::{Value, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

const DEFAULT_SIZE: usize = 100;
const MAX_SIZE: usize = 1000;

/// The page that was asked for, of what `part` gives: from a key on (which may be that of the first), so many.
///
/// An offset is the key of the page's first item, so that a change in between neither repeats an item nor hides one.
pub(crate) fn answer<K, T>(
    call: &Call,
    part: impl FnOnce(Option<&K>, usize) -> Result<Vec<(K, T)>, Error>,
    show: impl Fn(&T) -> Result<Value, Error>,
) -> Result<Response, Error>
where
    K: Serialize + DeserializeOwned,
{
    let size = size(&call.query)?;
    let start: Option<K> = call.query.get("offset").map(decode).transpose()?;
    // One more than wanted tells where the next page begins.
    let mut items = part(start.as_ref(), size + 1)?;
    let following = if items.len() > size { items.pop() } else { None };
    let data: Vec<Value> = items.iter().map(|(_, item)| show(item)).collect::<Result<_, _>>()?;
    let mut list = json!({ "data": data, "next": null });
    if let Some((key, _)) = following {
        let offset = URL_SAFE_NO_PAD.encode(json!(key).to_string());
        list["next"] = json!(next(call, &offset));
        list["offset"] = json!(offset);
    }
    Ok(reply::ok(&list))
}

/// All entities of a kind, or those below a parent: for where there are few.
pub(crate) fn all(
    call: &Call,
    kind: &'static EntityKind,
    below: Option<Below>,
    tagged: &Tagged,
) -> Result<Vec<Row>, Error> {
    let mut all = Vec::new();
    rows::each(call.rows, kind, below, tagged, call.now, |row| {
        all.push(row);
        Ok::<_, Error>(())
    })?;
    Ok(all)
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
