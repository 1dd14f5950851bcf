//! Forms as entities: dotted names become records, and texts become what the schema wants.

use schema::{Kind, Map, Record, Value, json};

/// The entity that a form describes. What does not fit stays a text, for the schema to object to.
pub(crate) fn entity(record: &Record, pairs: Vec<(String, String)>) -> Map<String, Value> {
    let mut entity = Map::new();
    for (name, text) in pairs {
        put(&mut entity, record, &name, text);
    }
    entity
}

fn put(entity: &mut Map<String, Value>, record: &Record, path: &str, text: String) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    // `tags[]` and `tags[1]` both mean one more of them, in the order of the form.
    let bare = name.split_once('[').map_or(name, |(bare, _)| bare);
    let mut object = |field: &str, fill: &mut dyn FnMut(&mut Map<String, Value>)| {
        if let Value::Object(inner) = entity.entry(field).or_insert_with(|| json!({})) {
            fill(inner);
        }
    };
    match (record.field(bare).map(|field| &field.kind), rest) {
        (Some(Kind::Record(record)), Some(rest)) => {
            object(bare, &mut |inner| put(inner, record, rest, text.clone()));
        }
        (Some(Kind::Map(_, element)), Some(key)) => {
            let key = key.strip_suffix("[]").unwrap_or(key);
            object(bare, &mut |inner| add(inner, key, &element.kind, &text));
        }
        (Some(Kind::Foreign(_) | Kind::Abstract), Some(rest)) => {
            object(bare, &mut |inner| add(inner, rest, &Kind::Text, &text));
        }
        (Some(kind), None) => add(entity, bare, kind, &text),
        _ => {
            entity.insert(path.to_owned(), Value::String(text));
        }
    }
}

/// Sets a value, or puts it behind those that a list has already.
fn add(entity: &mut Map<String, Value>, name: &str, kind: &Kind, text: &str) {
    match kind {
        Kind::Array(element) | Kind::Set(element) if !text.is_empty() => {
            if let Value::Array(items) = entity.entry(name).or_insert_with(|| json!([])) {
                items.push(typed(&element.kind, text));
            }
        }
        kind => {
            entity.insert(name.to_owned(), typed(kind, text));
        }
    }
}

fn typed(kind: &Kind, text: &str) -> Value {
    let typed = match kind {
        _ if text.is_empty() => Some(Value::Null),
        Kind::Boolean => text.parse().ok().map(Value::Bool),
        Kind::Integer(..) => text.parse().ok().map(|number: i64| json!(number)),
        Kind::Number => text.parse().ok().map(|number: f64| json!(number)),
        _ => None,
    };
    typed.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pairs;

    fn check(kind: &str, text: &str, expected: Value) {
        let record = &model::entity::kind(kind).unwrap().record;
        assert_eq!(Value::Object(entity(record, pairs(text))), expected, "{text}");
    }

    #[test]
    fn texts_become_what_the_schema_wants() {
        check(
            "services",
            "name=f&retries=3&tags[]=a&tags[]=b&enabled=false&path=",
            json!({"name": "f", "retries": 3, "tags": ["a", "b"], "enabled": false, "path": null}),
        );
        check("services", "retries=abc&nope=1", json!({"retries": "abc", "nope": "1"}));
        check(
            "routes",
            "headers.x-v[]=1&headers.x-v[]=2&service.id=i&hosts[1]=a%20b",
            json!({"headers": {"x-v": ["1", "2"]}, "service": {"id": "i"}, "hosts": ["a b"]}),
        );
        check(
            "upstreams",
            "healthchecks.active.timeout=2.5&healthchecks.active.healthy.http_statuses[]=200",
            json!({"healthchecks": {"active": {"timeout": 2.5, "healthy": {"http_statuses": [200]}}}}),
        );
    }
}
