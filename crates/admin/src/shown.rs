//! Rows as the Admin API shows them.

use crate::call::Call;
use crate::locate;
use model::{EntityKind, Row};
use schema::{Value, json};

/// A row with what is not kept in it: a certificate's names, and how long an API key is still good.
pub(crate) fn shown(call: &Call, kind: &EntityKind, row: &Row) -> Value {
    let mut entity = row.json.clone();
    let name = row.json.get("name").and_then(Value::as_str);
    model::record(kind, call.catalog, name).show(&mut entity);
    if kind.name == "certificates" {
        let snis = call.configuration.rows("snis").iter();
        let own = snis.filter(|sni| locate::reference(sni, "certificate") == Some(row.id));
        let mut names: Vec<&str> = own.filter_map(|sni| sni.json.get("name").and_then(Value::as_str)).collect();
        names.sort_unstable();
        entity.insert("snis".to_owned(), json!(names));
    }
    if let Some(end) = row.expires_at {
        entity.insert("ttl".to_owned(), json!(end.saturating_sub(call.now)));
    }
    Value::Object(entity)
}
