//! Entities in tables: asked for, put, taken away.

use crate::audit::{self, Author, Entry};
use crate::body::Sealer;
use crate::sql::{Cell, Sql, odd};
use model::entity;
use model::rows::{Asked, AuditPart, Audited, Below, Claim, Part, Refused, Tag, TagPart, Tagged, Unavailable};
use model::{EntityKind, Row, Rows, Writes};
use schema::Rule;
use uuid::Uuid;

/// Entities over one connection.
pub(crate) struct Tables<'a> {
    pub(crate) sql: &'a dyn Sql,
    pub(crate) sealer: &'a Sealer,
    /// Who changes them, where that is written down.
    pub(crate) author: Option<&'a Author<'a>>,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

impl Rows for Tables<'_> {
    fn by_id(&self, kind: &'static EntityKind, id: Uuid, now: u64) -> Result<Option<Row>, Unavailable> {
        let sql = "SELECT id, body, expires_at FROM entities WHERE kind = $1 AND id = $2";
        let found = self.sql.ask_one(sql, &[kind.name.into(), id.into()])?;
        let row = found.map(|cells| self.row(kind, &cells)).transpose()?;
        Ok(row.filter(|row| row.is_alive(now)))
    }

    fn by_field(&self, kind: &'static EntityKind, asked: &Asked) -> Result<Option<Row>, Unavailable> {
        let id = match claim(kind, asked) {
            Some(claim) => self.claimant(kind, &claim)?,
            None => return self.search(kind, asked),
        };
        let row = match id {
            Some(id) => self.by_id(kind, id, asked.now)?,
            None => None,
        };
        Ok(row.filter(|row| asked.below.is_none_or(|below| row.reference(below.field) == Some(below.parent))))
    }

    fn list(&self, kind: &'static EntityKind, part: &Part) -> Result<Vec<Row>, Unavailable> {
        let mut given: Vec<Cell> =
            vec![kind.name.into(), part.from.into(), part.now.into(), (part.count as u64).into()];
        let mut put = |value: Cell| {
            given.push(value);
            format!("${}", given.len())
        };
        let mut sql = "SELECT e.id, e.body, e.expires_at FROM entities e".to_owned();
        if let Some(below) = part.below {
            let (parent_kind, parent, field) =
                (put(below.parent_kind.into()), put(below.parent.into()), put(below.field.into()));
            sql += &format!(
                " JOIN links l ON l.kind = e.kind AND l.id = e.id \
                 AND l.parent_kind = {parent_kind} AND l.parent_id = {parent} AND l.field = {field}"
            );
        }
        sql += " WHERE e.kind = $1 AND e.id >= $2 AND (e.expires_at IS NULL OR e.expires_at > $3)";
        let (tags, all) = match part.tagged {
            Tagged::Anyhow => (None, false),
            Tagged::Every(tags) => (Some(tags), true),
            Tagged::Any(tags) => (Some(tags), false),
        };
        if let Some(tags) = tags {
            let has = |tag: &String| {
                let tag = put(tag.clone().into());
                format!("EXISTS (SELECT 1 FROM tags t WHERE t.kind = e.kind AND t.id = e.id AND t.tag = {tag})")
            };
            let each: Vec<String> = tags.iter().map(has).collect();
            sql += &format!(" AND ({})", each.join(if all { " AND " } else { " OR " }));
        }
        sql += " ORDER BY e.id LIMIT $4";
        self.sql.ask(&sql, &given)?.iter().map(|cells| self.row(kind, cells)).collect()
    }

    fn tags(&self, part: &TagPart) -> Result<Vec<Tag>, Unavailable> {
        let (kind, id, tag) = part.from.cloned().unwrap_or_default();
        let mut given = vec![kind.into(), id.into(), tag.into(), part.now.into(), (part.count as u64).into()];
        // Compared one by one: which order texts have is the database's own affair, and the same as that of the pages.
        let mut sql = "SELECT t.kind, t.id, t.tag FROM tags t JOIN entities e ON e.kind = t.kind AND e.id = t.id \
             WHERE (t.kind > $1 OR (t.kind = $1 AND (t.id > $2 OR (t.id = $2 AND t.tag >= $3)))) \
             AND (e.expires_at IS NULL OR e.expires_at > $4)"
            .to_owned();
        if let Some(only) = part.only {
            given.push(only.into());
            sql += " AND t.tag = $6";
        }
        sql += " ORDER BY t.kind, t.id, t.tag LIMIT $5";
        let tag = |cells: &Vec<Cell>| match cells.as_slice() {
            [kind, id, tag] => Some((kind.text()?.to_owned(), id.id()?, tag.text()?.to_owned())),
            _ => None,
        };
        self.sql.ask(&sql, &given)?.iter().map(|cells| tag(cells).ok_or_else(odd)).collect()
    }

    fn count(&self, kind: &'static EntityKind) -> Result<u64, Unavailable> {
        let row = self.sql.ask_one("SELECT count(*) FROM entities WHERE kind = $1", &[kind.name.into()])?;
        row.as_deref().and_then(|row| row.first()).and_then(Cell::number).ok_or_else(odd)
    }

    fn audit(&self, part: &AuditPart) -> Result<Vec<Audited>, Unavailable> {
        audit::read(self.sql, part)
    }
}

/// The claim that a question can be answered by: the field alone, or together with the parent's.
fn claim(kind: &EntityKind, asked: &Asked) -> Option<Claim> {
    if kind.unique_fields().any(|field| field.name == asked.field) {
        let value = kind.claimed(asked.field, asked.value).into_owned();
        return Some(Claim { fields: vec![asked.field], values: vec![value] });
    }
    let Below { field, parent, .. } = asked.below?;
    let fields = kind
        .unique_together
        .iter()
        .find(|fields| matches!(fields, [a, b] if [*a, *b].contains(&asked.field) && [*a, *b].contains(&field)))?;
    let value = |name: &&'static str| if *name == field { parent.to_string() } else { asked.value.to_owned() };
    Some(Claim { fields: fields.to_vec(), values: fields.iter().map(value).collect() })
}

impl Writes for Tables<'_> {
    fn put(&self, kind: &'static EntityKind, row: &Row) -> Result<(), Refused> {
        let claims = kind.claims(&row.json);
        for claim in &claims {
            match self.claimant(kind, claim)? {
                Some(other) if other != row.id => match self.is_over(kind, other)? {
                    // What was given for a time holds nothing any more when it is over.
                    true => self.remove(kind, other)?,
                    false => return Err(Refused::Taken { kind: kind.name, claim: claim.clone() }),
                },
                _ => {}
            }
        }
        let key: [Cell; 2] = [kind.name.into(), row.id.into()];
        let before = self.by_id(kind, row.id, 0)?;
        let body = self.sealer.write(kind, row.id, &row.json)?;
        let given = [key[0].clone(), key[1].clone(), body.into(), row.expires_at.into()];
        self.replace(given)?;
        if before.is_some() {
            self.forget_what_surrounds(&key)?;
        }
        for claim in &claims {
            let value = self.sealer.claimed(kind, &claim.fields, &claim.values)?;
            let given = [key[0].clone(), claim.fields.join(", ").into(), value.into(), key[1].clone()];
            self.sql.ask("INSERT INTO claims (kind, fields, value, id) VALUES ($1, $2, $3, $4)", &given)?;
        }
        for (field, parent) in kind.references() {
            let Some(id) = row.reference(field) else { continue };
            let there = self
                .sql
                .ask_one("SELECT kind FROM entities WHERE kind = $1 AND id = $2", &[parent.into(), id.into()])?;
            if there.is_none() {
                return Err(Refused::NoParent { field, parent, id });
            }
            let given = [key[0].clone(), key[1].clone(), field.into(), parent.into(), id.into()];
            let sql = "INSERT INTO links (kind, id, field, parent_kind, parent_id) VALUES ($1, $2, $3, $4, $5)";
            self.sql.ask(sql, &given)?;
        }
        for tag in row.tags() {
            let given = [key[0].clone(), key[1].clone(), tag.into()];
            self.sql.ask("INSERT INTO tags (kind, id, tag) VALUES ($1, $2, $3)", &given)?;
        }
        Ok(self.announce(kind, row.id, before.as_ref(), Some(row))?)
    }

    fn remove(&self, kind: &'static EntityKind, id: Uuid) -> Result<(), Refused> {
        let key: [Cell; 2] = [kind.name.into(), id.into()];
        let sql = "SELECT kind, id, field FROM links WHERE parent_kind = $1 AND parent_id = $2";
        for link in self.sql.ask(sql, &key)? {
            let child = match link.as_slice() {
                [kind, id, field] => kind.text().and_then(entity::kind).zip(id.id()).zip(field.text()),
                _ => None,
            };
            let Some(((child, id), field)) = child else { return Err(odd().into()) };
            if !child.record.field(field).is_some_and(|field| field.has(&Rule::Cascade)) {
                return Err(Refused::InUse { kind: kind.name, by: child.name });
            }
            self.remove(child, id)?;
        }
        let before = match self.author {
            Some(_) => self.by_id(kind, id, 0)?,
            None => None,
        };
        let gone = self.sql.ask_one("DELETE FROM entities WHERE kind = $1 AND id = $2 RETURNING kind", &key)?;
        if gone.is_none() {
            return Ok(());
        }
        self.forget_what_surrounds(&key)?;
        Ok(self.announce(kind, id, before.as_ref(), None)?)
    }
}

impl Tables<'_> {
    fn row(&self, kind: &EntityKind, cells: &[Cell]) -> Result<Row, Unavailable> {
        let [id, body, expires_at] = cells else { return Err(odd()) };
        let (Some(id), Some(body)) = (id.id(), body.bytes()) else { return Err(odd()) };
        let json = self.sealer.read(kind.name, id, body)?;
        Ok(Row { id, json, place: Default::default(), expires_at: expires_at.number() })
    }

    /// Kind, identity, body and end of an entity, and nothing around it.
    pub(crate) fn replace(&self, given: [Cell; 4]) -> Result<(), Unavailable> {
        let sql = "INSERT INTO entities (kind, id, body, expires_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body, expires_at = excluded.expires_at";
        self.sql.ask(sql, &given).map(drop)
    }

    /// Who has what a claim is about.
    fn claimant(&self, kind: &EntityKind, claim: &Claim) -> Result<Option<Uuid>, Unavailable> {
        let value = self.sealer.claimed(kind, &claim.fields, &claim.values)?;
        let given = [kind.name.into(), claim.fields.join(", ").into(), value.into()];
        let row = self.sql.ask_one("SELECT id FROM claims WHERE kind = $1 AND fields = $2 AND value = $3", &given)?;
        row.map(|cells| cells.first().and_then(Cell::id).ok_or_else(odd)).transpose()
    }

    /// By a field that others may have as well: one after the other.
    fn search(&self, kind: &'static EntityKind, asked: &Asked) -> Result<Option<Row>, Unavailable> {
        const AT_ONCE: usize = 500;
        let mut from = Uuid::nil();
        loop {
            let part = Part { below: asked.below, tagged: &Tagged::Anyhow, from, count: AT_ONCE, now: asked.now };
            let rows = self.list(kind, &part)?;
            let is_it = |row: &&Row| row.json.get(asked.field).and_then(schema::Value::as_str) == Some(asked.value);
            if let Some(found) = rows.iter().find(is_it) {
                return Ok(Some(found.clone()));
            }
            match rows.last().filter(|_| rows.len() == AT_ONCE) {
                Some(last) => from = Uuid::from_u128(last.id.as_u128().saturating_add(1)),
                None => return Ok(None),
            }
        }
    }

    fn is_over(&self, kind: &EntityKind, id: Uuid) -> Result<bool, Unavailable> {
        let sql = "SELECT expires_at FROM entities WHERE kind = $1 AND id = $2";
        let row = self.sql.ask_one(sql, &[kind.name.into(), id.into()])?;
        let end = row.as_deref().and_then(|row| row.first()).and_then(Cell::number);
        Ok(end.is_some_and(|end| end <= self.now))
    }

    fn forget_what_surrounds(&self, key: &[Cell; 2]) -> Result<(), Unavailable> {
        for table in ["claims", "links", "tags"] {
            self.sql.ask(&format!("DELETE FROM {table} WHERE kind = $1 AND id = $2"), key)?;
        }
        Ok(())
    }

    /// Takes away what was given for a time that is over.
    pub(crate) fn sweep(&self) -> Result<(), Unavailable> {
        let over = self.sql.ask("SELECT kind, id FROM entities WHERE expires_at <= $1", &[self.now.into()])?;
        for cells in over {
            let found = match cells.as_slice() {
                [kind, id] => kind.text().and_then(entity::kind).zip(id.id()),
                _ => None,
            };
            let Some((kind, id)) = found else { continue };
            self.remove(kind, id).map_err(|refused| Unavailable(refused.to_string()))?;
        }
        Ok(())
    }

    /// Writes the change into the feed.
    fn announce(
        &self,
        kind: &'static EntityKind,
        id: Uuid,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Result<(), Unavailable> {
        let number = self.sql.ask_one("UPDATE last_change SET number = number + 1 RETURNING number", &[])?;
        let number = number.as_deref().and_then(|row| row.first()).and_then(Cell::number).ok_or_else(odd)?;
        let given = [number.into(), kind.name.into(), id.into(), self.now.into()];
        self.sql.ask("INSERT INTO changes (number, kind, id, at) VALUES ($1, $2, $3, $4)", &given)?;
        if let Some(author) = self.author {
            let [before, after] = [before, after].map(|row| row.map(|row| &row.json));
            audit::write(self.sql, author, &Entry { number, at: self.now, kind, id, before, after })?;
        }
        Ok(())
    }
}
