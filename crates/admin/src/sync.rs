//! The whole database as a declarative document, out and in: what differs from a document is found, told, and changed
//! in one step.

use crate::call::Call;
use crate::configuration::{given, refusal};
use crate::error::Error;
use crate::gate::Gate;
use crate::page;
use crate::progress::Progress;
use crate::reply::{self, Response};
use model::declarative::Written;
use model::entity::KINDS;
use model::rows::{Claim, Tagged};
use model::{EntityKind, Row, Writes, api_key, entity, keep_hashes, without_secrets};
use schema::{Field, Kind, Map, Rule, Value, Violations, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// `GET /declarative`: everything, or what has the tags of `select_tag`.
pub(crate) fn export(call: &Call) -> Result<Response, Error> {
    let tagged = selected(call);
    let rows = KINDS
        .iter()
        .map(|kind| Ok((kind, page::all(call, kind, None, &tagged)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let document = model::configuration::document(rows.iter().map(|(kind, rows)| (*kind, rows.as_slice())), call.now);
    Ok(reply::ok(&document))
}

/// `PUT /declarative`: makes the database what a document says.
///
/// With `dry_run` it only tells what would be done; with `select_tag` entities without these tags are left alone.
pub(crate) fn import(gate: &impl Gate, call: &Call, progress: &Progress) -> Result<Response, Error> {
    let writes = call.writes.ok_or(Error::Elsewhere(
        "this endpoint is only available with a database; without one, load documents with POST /config",
    ))?;
    let written = gate.read(&given(call)?).map_err(|invalid| refusal(&invalid, call.query.is_on("flatten_errors")))?;
    let steps = steps(call, &written)?;
    let told = told(call, &steps);
    if call.query.is_on("dry_run") {
        return Err(Error::Asked(told));
    }
    let begun = progress.begin(steps.len());
    let make = |step: &Step| step.make(writes).inspect(|()| begun.one_more());
    // What goes goes first, so that names are free; but what others must leave before it can go goes last.
    let gone = || steps.iter().rev().filter(|step| step.after.is_none());
    gone().filter(|step| !is_held(step.kind)).try_for_each(make)?;
    // Side by side in the database, which is several times as fast where there are many.
    let mut there: Vec<&Step> = steps.iter().filter(|step| step.after.is_some()).collect();
    there.chunk_by_mut(|a, b| a.kind.name == b.kind.name).for_each(|of_kind| of_kind.sort_by_key(|step| step.id()));
    there.into_iter().try_for_each(make)?;
    gone().filter(|step| is_held(step.kind)).try_for_each(make)?;
    Ok(reply::ok(&told))
}

/// An entity that is not as the document says.
struct Step {
    kind: &'static EntityKind,
    before: Option<Row>,
    after: Option<Row>,
}

impl Step {
    fn id(&self) -> Option<Uuid> {
        self.after.as_ref().or(self.before.as_ref()).map(|row| row.id)
    }

    fn make(&self, writes: &dyn Writes) -> Result<(), Error> {
        match (&self.before, &self.after) {
            (_, Some(row)) => Ok(writes.put(self.kind, row)?),
            (Some(row), None) => Ok(writes.remove(self.kind, row.id)?),
            (None, None) => Ok(()),
        }
    }
}

/// Whether an entity of this kind stays as long as another refers to it.
fn is_held(kind: &EntityKind) -> bool {
    let holds =
        |field: &Field| matches!(field.kind, Kind::Foreign(of) if of == kind.name) && !field.has(&Rule::Cascade);
    KINDS.iter().any(|other| other.record.fields.iter().any(holds))
}

/// The kinds that say who calls. Where a document has none of them it is not about callers, and leaves all of them alone;
/// so it is with the tokens of this API.
const CALLERS: &[&str] = &["consumers", "consumer_groups"];

/// One of these, or what belongs to one, however far.
fn is_of_callers(kind: &EntityKind) -> bool {
    let belongs = |parent: &str| entity::kind(parent).is_some_and(is_of_callers);
    CALLERS.contains(&kind.name)
        || !["plugins", "admin_tokens"].contains(&kind.name) && kind.references().any(|(_, parent)| belongs(parent))
}

fn steps(call: &Call, written: &Written) -> Result<Vec<Step>, Error> {
    let wanted = &written.configuration;
    let says = |kind: &EntityKind| !wanted.rows(kind.name).is_empty();
    let about_callers = KINDS.iter().any(|kind| is_of_callers(kind) && says(kind));
    let is_meant = |kind: &EntityKind| match kind.name {
        "admin_tokens" => says(kind),
        _ => about_callers || !is_of_callers(kind),
    };
    let tagged = selected(call);
    let mut adopted = HashMap::new();
    let mut steps = Vec::new();
    for kind in KINDS.iter().filter(|kind| is_meant(kind)) {
        let mut there = There::new(kind, page::all(call, kind, None, &Tagged::Anyhow)?);
        let mut wanted: Vec<Row> = wanted.rows(kind.name).to_vec();
        for row in &mut wanted {
            adopt(kind, row, &adopted);
            tag(row, &tagged);
        }
        // Who says an identity means that one; the others are known by what is theirs alone.
        wanted.sort_by_key(|row| !there.rows.contains_key(&row.id));
        for mut row in wanted {
            let before = there.take(&row);
            if let Some(before) = &before {
                if !tagged.holds(before) {
                    let text = format!("'{}' entity {} is there without the tags of select_tag", kind.name, before.id);
                    return Err(Error::Schema(Violations::field("tags", text)));
                }
                adopted.insert(row.id, before.id);
                become_the_same(&mut row, before);
            }
            let kept = before.as_ref().map(|before| &before.json);
            api_key::hide(kind, &mut row.json, kept, call.readable_keys);
            if !written.is_hashed {
                keep_hashes(kind, &mut row.json, kept).map_err(Error::Schema)?;
            }
            if before.as_ref().is_none_or(|before| !is_same(before, &row)) {
                steps.push(Step { kind, before, after: Some(row) });
            }
        }
        let is_left_alone = |row: &Row| {
            let of_caller = ["consumer", "consumer_group"].iter().any(|field| row.reference(field).is_some());
            !tagged.holds(row) || (!about_callers && of_caller)
        };
        let rest = there.rows.into_values().filter(|row| !is_left_alone(row));
        steps.extend(rest.map(|row| Step { kind, before: Some(row), after: None }));
    }
    Ok(steps)
}

/// The entities of a kind that are there and that the document has not named yet.
struct There {
    kind: &'static EntityKind,
    rows: HashMap<Uuid, Row>,
    by_claim: HashMap<(Vec<&'static str>, Vec<String>), Uuid>,
}

impl There {
    fn new(kind: &'static EntityKind, rows: Vec<Row>) -> There {
        let claims = |row: &Row| {
            let id = row.id;
            kind.claims(&row.json).into_iter().map(move |Claim { fields, values }| ((fields, values), id))
        };
        There {
            kind,
            by_claim: rows.iter().flat_map(claims).collect(),
            rows: rows.into_iter().map(|row| (row.id, row)).collect(),
        }
    }

    /// The one that is meant: of this identity, with something that is its alone, or the same but for its identity.
    fn take(&mut self, row: &Row) -> Option<Row> {
        if let Some(found) = self.rows.remove(&row.id) {
            return Some(found);
        }
        let claims = self.kind.claims(&row.json);
        let known =
            claims.into_iter().find_map(|Claim { fields, values }| self.by_claim.get(&(fields, values)).copied());
        let same = || self.rows.values().find(|other| comparable(other) == comparable(row)).map(|other| other.id);
        let nameless = self.kind.endpoint_key.is_none_or(|key| row.json.get(key).is_none_or(Value::is_null));
        known.or_else(|| nameless.then(same).flatten()).and_then(|id| self.rows.remove(&id))
    }
}

/// References lead to entities as they are called in the database.
fn adopt(kind: &EntityKind, row: &mut Row, adopted: &HashMap<Uuid, Uuid>) {
    for (field, _) in kind.references() {
        if let Some(known) = row.reference(field).and_then(|id| adopted.get(&id)) {
            row.json.insert(field.to_owned(), json!({ "id": known }));
        }
    }
}

fn tag(row: &mut Row, tagged: &Tagged) {
    let Tagged::Every(tags) = tagged else { return };
    let missing: Vec<&String> = tags.iter().filter(|tag| !row.tags().any(|own| own == *tag)).collect();
    let own = row.tags().map(str::to_owned).chain(missing.into_iter().cloned()).collect::<Vec<_>>();
    row.json.insert("tags".to_owned(), json!(own));
}

fn become_the_same(row: &mut Row, before: &Row) {
    row.id = before.id;
    row.json.insert("id".to_owned(), json!(before.id));
    if let Some(created_at) = before.json.get("created_at") {
        row.json.insert("created_at".to_owned(), created_at.clone());
    }
    // A time that runs already is not begun again.
    if row.expires_at.is_some() && before.expires_at.is_some() {
        row.expires_at = before.expires_at;
    }
}

fn is_same(before: &Row, after: &Row) -> bool {
    comparable(before) == comparable(after) && before.expires_at == after.expires_at
}

fn comparable(row: &Row) -> Vec<(&String, &Value)> {
    row.json.iter().filter(|(name, _)| !["id", "created_at", "updated_at"].contains(&name.as_str())).collect()
}

fn selected(call: &Call) -> Tagged {
    let tags: Vec<String> = call
        .query
        .get("select_tag")
        .map(|tags| tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
        .unwrap_or_default();
    if tags.is_empty() { Tagged::Anyhow } else { Tagged::Every(tags) }
}

/// What is done, without secrets.
fn told(call: &Call, steps: &[Step]) -> Value {
    let mut told = json!({ "created": [], "changed": [], "deleted": [] });
    for step in steps {
        let list = match (&step.before, &step.after) {
            (None, _) => "created",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "deleted",
        };
        if let Some(list) = told.get_mut(list).and_then(Value::as_array_mut) {
            list.push(step.told(call));
        }
    }
    told
}

impl Step {
    fn told(&self, call: &Call) -> Value {
        let (Some(row), kind) = (self.after.as_ref().or(self.before.as_ref()), self.kind) else { return Value::Null };
        let mut told = json!({ "kind": kind.name, "id": row.id });
        let name = row.json.get("name").and_then(Value::as_str);
        let key = kind.endpoint_key.filter(|key| !kind.is_secret(key)).unwrap_or("name");
        if let Some(name) = row.json.get(key).filter(|name| !name.is_null()).or_else(|| row.json.get("name")) {
            told["name"] = name.clone();
        }
        if let (Some(before), Some(after)) = (&self.before, &self.after) {
            let record = model::record(kind, call.catalog, name);
            let [shown_before, shown_after] = [before, after].map(|row| without_secrets(&record, &row.json));
            let names: HashSet<&String> =
                comparable(before).into_iter().chain(comparable(after)).map(|(name, _)| name).collect();
            let differs = names.into_iter().filter(|name| before.json.get(*name) != after.json.get(*name));
            let fields = differs
                .map(|name| (name.clone(), json!({ "from": shown_before.get(name), "to": shown_after.get(name) })));
            told["fields"] = Value::Object(fields.collect::<Map<_, _>>());
        }
        told
    }
}
