//! Tags: the filter `?tags=`, and the lists of what carries which.

use crate::call::Call;
use crate::error::Error;
use crate::locate;
use crate::page;
use crate::query::Query;
use crate::reply::Response;
use model::Row;
use model::entity::KINDS;
use schema::{Value, json};
use uuid::Uuid;

/// Kong's limit.
const MAX_TAGS: usize = 5;

/// Which entities a list shows.
pub(crate) enum Filter {
    All,
    /// Those with every tag: `a,b`.
    Every(Vec<String>),
    /// Those with one of the tags: `a/b`.
    Any(Vec<String>),
}

impl Filter {
    pub(crate) fn read(query: &Query) -> Result<Filter, Error> {
        let Some(text) = query.get("tags") else { return Ok(Filter::All) };
        let split = |separator| -> Vec<String> { text.split(separator).map(str::to_owned).collect() };
        let (tags, filter): (_, fn(Vec<String>) -> Filter) = match (text.contains(','), text.contains('/')) {
            _ if text.is_empty() => return Err(Error::Tags("cannot be null")),
            (true, true) => return Err(Error::Tags("invalid filter syntax")),
            (false, true) => (split('/'), Filter::Any),
            (_, false) => (split(','), Filter::Every),
        };
        if tags.len() > MAX_TAGS {
            return Err(Error::Tags("cannot query more than 5 tags"));
        }
        if tags.iter().any(String::is_empty) {
            return Err(Error::Tags("invalid filter syntax"));
        }
        Ok(filter(tags))
    }

    pub(crate) fn holds(&self, row: &Row) -> bool {
        let has = |tag: &String| tags(row).any(|given| given == tag);
        match self {
            Filter::All => true,
            Filter::Every(wanted) => wanted.iter().all(has),
            Filter::Any(wanted) => wanted.iter().any(has),
        }
    }
}

fn tags(row: &Row) -> impl Iterator<Item = &str> {
    row.json.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Every tag of every entity, or one tag's.
pub(crate) fn list(call: &Call, only: Option<&str>) -> Result<Response, Error> {
    let mut found: Vec<((String, Uuid, String), ())> = Vec::new();
    for kind in KINDS.iter() {
        for row in call.configuration.rows(kind.name).iter().filter(|row| locate::is_alive(call, row)) {
            let wanted = tags(row).filter(|tag| only.is_none_or(|only| only == *tag));
            found.extend(wanted.map(|tag| ((kind.name.to_owned(), row.id, tag.to_owned()), ())));
        }
    }
    found.sort_unstable();
    let items = found.into_iter().map(|(key, ())| (key.clone(), key)).collect();
    page::answer(call, items, |(kind, id, tag)| json!({ "entity_name": kind, "entity_id": id, "tag": tag }))
}
