//! Tags: the filter `?tags=`, and the lists of what carries which.

use crate::call::Call;
use crate::error::Error;
use crate::page;
use crate::query::Query;
use crate::reply::Response;
use model::rows::{Tag, TagPart, Tagged};
use schema::json;

/// Kong's limit.
const MAX_TAGS: usize = 5;

/// Which entities a list shows: `?tags=a,b` those with every tag, `?tags=a/b` those with one of them.
pub(crate) fn filter(query: &Query) -> Result<Tagged, Error> {
    let Some(text) = query.get("tags") else { return Ok(Tagged::Anyhow) };
    let split = |separator| -> Vec<String> { text.split(separator).map(str::to_owned).collect() };
    let (tags, filter): (_, fn(Vec<String>) -> Tagged) = match (text.contains(','), text.contains('/')) {
        _ if text.is_empty() => return Err(Error::Tags("cannot be null")),
        (true, true) => return Err(Error::Tags("invalid filter syntax")),
        (false, true) => (split('/'), Tagged::Any),
        (_, false) => (split(','), Tagged::Every),
    };
    if tags.len() > MAX_TAGS {
        return Err(Error::Tags("cannot query more than 5 tags"));
    }
    if tags.iter().any(String::is_empty) {
        return Err(Error::Tags("invalid filter syntax"));
    }
    Ok(filter(tags))
}

/// Every tag of every entity, or one tag's.
pub(crate) fn list(call: &Call, only: Option<&str>) -> Result<Response, Error> {
    let part = |from: Option<&Tag>, count| {
        let found = call.rows.tags(&TagPart { only, from, count, now: call.now })?;
        Ok(found.into_iter().map(|tag| (tag.clone(), tag)).collect())
    };
    page::answer(call, part, |(kind, id, tag)| Ok(json!({ "entity_name": kind, "entity_id": id, "tag": tag })))
}
