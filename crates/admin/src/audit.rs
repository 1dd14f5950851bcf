//! Who changed what.

use crate::call::Call;
use crate::error::Error;
use crate::page;
use crate::reply::Response;
use model::rows::{AuditPart, Audited};
use schema::{Value, json};

/// `GET /audit`: changes in their order; of `who`, of a `kind`, of an `id`.
pub(crate) fn list(call: &Call) -> Result<Response, Error> {
    if call.document.is_some() {
        return Err(Error::Elsewhere(
            "this endpoint is only available with a database; without one the gate's log tells who loaded a document",
        ));
    }
    let id = call.query.get("id").map(|id| id.parse().map_err(|_| Error::PrimaryKey)).transpose()?;
    let part = |from: Option<&u64>, count| {
        let (who, kind) = (call.query.get("who"), call.query.get("kind"));
        let part = AuditPart { from: from.copied().unwrap_or_default(), count, who, kind, id };
        let audited = call.rows.audit(&part)?;
        Ok(audited.into_iter().map(|one| (one.number, one)).collect())
    };
    page::answer(call, part, |one| Ok(shown(one)))
}

fn shown(one: &Audited) -> Value {
    let operation = match (&one.before, &one.after) {
        (None, _) => "create",
        (_, Some(_)) => "update",
        (_, None) => "delete",
    };
    json!({
        "number": one.number,
        "at": one.at,
        "who": one.who,
        "operation": operation,
        "kind": one.kind,
        "id": one.id,
        "before": one.before,
        "after": one.after,
    })
}
