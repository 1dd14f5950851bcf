//! Rows put into the registry, and taken out of it.

use super::{
    ApiKey, BasicCredential, ById, CertificateCredential, Consumer, ConsumerGroup, Digest, Groups, HmacCredential,
    JwtCredential, Registry, Revoked, digest, half,
};
use crate::identity::header_value;
use model::api_key;
use model::consumer;
use model::consumer_group::{self, Membership};
use model::credential::{Acl, BasicAuth, HmacAuth, JwtSecret, KeyAuth, MtlsAuth};
use model::vault::Vaults;
use model::{EntityKind, Row};
use schema::{Schema, Violations};
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError};
use uuid::Uuid;

/// By the identity of a row, what it has brought in.
pub(super) type Held = BTreeMap<Uuid, Entry>;

/// There may be millions of API keys: nothing here is larger than theirs.
#[derive(PartialEq)]
pub(super) enum Entry {
    ApiKey(Digest),
    Jwt(Box<str>),
    Basic(Box<str>),
    Hmac(Box<str>),
    Certificate(Box<str>),
    Acl(Box<(Uuid, String)>),
    Member(Box<(Uuid, Uuid)>),
}

impl Registry {
    /// Puts a row there, in place of the one with its identity. The error is what is wrong with its secrets.
    pub fn put(&self, kind: &EntityKind, row: &Row, vaults: &Vaults) -> Result<(), Violations> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match kind.name {
            "consumers" => {
                self.put_consumer(read(kind, row, vaults)?);
                return Ok(());
            }
            "consumer_groups" => {
                let group: consumer_group::ConsumerGroup = read(kind, row, vaults)?;
                self.put_group(group.id, &group.name);
                return Ok(());
            }
            "consumer_group_consumers" => {
                let member: Membership = read(kind, row, vaults)?;
                Entry::Member((member.consumer.id, member.consumer_group.id).into())
            }
            "acls" => {
                let acl: Acl = read(kind, row, vaults)?;
                Entry::Acl((acl.consumer.id, acl.group).into())
            }
            "keyauth_credentials" => {
                let own: KeyAuth = read(kind, row, vaults)?;
                let hash = half(api_key::digest(own.key.as_ref().map_or("", |key| key.reveal())));
                let consumer =
                    self.owner(own.consumer.id).unwrap_or_else(|| Arc::new(Consumer::absent(own.consumer.id)));
                let expires_at = row.expires_at.map(|end| NonZeroU64::new(end).unwrap_or(NonZeroU64::MIN));
                let key = ApiKey { consumer, id: own.id, expires_at };
                // Two references may lead to one secret; whose request it is must not be left to chance.
                if self.keys.pin().get(&hash).is_some_and(|other| other.id != own.id) {
                    return Err(Violations::field("key", "the same key belongs to another credential"));
                }
                self.keys.pin().insert(hash, key);
                Entry::ApiKey(hash)
            }
            "jwt_secrets" => {
                let own: JwtSecret = read(kind, row, vaults)?;
                let Some(name) = own.key.clone() else { return Ok(()) };
                let name: Box<str> = name.into();
                if let Some(old) = self.jwts.pin().insert(name.clone(), Arc::new(JwtCredential::new(own))) {
                    old.revoked.set();
                }
                Entry::Jwt(name)
            }
            "basicauth_credentials" => {
                let own: BasicAuth = read(kind, row, vaults)?;
                let (id, consumer, identifier) = (own.id, own.consumer.id, header_value(&own.username));
                let password = own.password.reveal().to_owned();
                self.passwords.learn(&password);
                let name: Box<str> = own.username.into();
                self.basic.pin().insert(name.clone(), BasicCredential { id, consumer, identifier, password }.into());
                Entry::Basic(name)
            }
            "hmacauth_credentials" => {
                let own: HmacAuth = read(kind, row, vaults)?;
                let (id, consumer, identifier) = (own.id, own.consumer.id, header_value(&own.username));
                let Some(secret) = own.secret else { return Ok(()) };
                let name: Box<str> = own.username.into();
                self.hmac.pin().insert(name.clone(), HmacCredential { id, consumer, identifier, secret }.into());
                Entry::Hmac(name)
            }
            "mtls_auth_credentials" => {
                let own: MtlsAuth = read(kind, row, vaults)?;
                let (id, consumer) = (own.id, own.consumer.id);
                let credential =
                    CertificateCredential { id, consumer, authority: own.ca_certificate.map(|own| own.id) };
                let name: Box<str> = own.subject_name.into();
                self.change_certificates(&name, id, Some(credential));
                Entry::Certificate(name)
            }
            _ => return Ok(()),
        };
        // The new is there before the old goes, so that what is the same in both is never missing.
        let old = held.remove(&row.id).filter(|old| *old != entry);
        if let Some(old) = old {
            self.release(row.id, &old);
        }
        match &entry {
            Entry::Acl(own) => self.change_consumer(own.0, |groups| groups.acl.push(own.1.clone())),
            Entry::Member(own) => {
                let name = self.groups.pin().get(&own.1).cloned();
                let group = name.map(|name| ConsumerGroup { name: name.into(), id: own.1 });
                self.change_consumer(own.0, |groups| groups.consumer.extend(group.clone()));
            }
            _ => {}
        }
        held.insert(row.id, entry);
        Ok(())
    }

    /// Whether a row could be put there when `others` are as they will be.
    pub fn check(
        &self,
        kind: &EntityKind,
        row: &Row,
        vaults: &Vaults,
        others: &HashSet<Uuid>,
    ) -> Result<(), Violations> {
        let mut value = schema::Value::Object(row.json.clone());
        kind.record.resolve(&mut value, &|reference| vaults.resolve(reference))?;
        let key = value.get("key").and_then(schema::Value::as_str).filter(|_| kind.name == "keyauth_credentials");
        let hash = key.map(|key| half(api_key::digest(key)));
        let is_other = |hash: &Digest| {
            let keys = self.keys.pin();
            keys.get(hash).is_some_and(|other| other.id != row.id && !others.contains(&other.id))
        };
        match hash.is_some_and(|hash| is_other(&hash)) {
            true => Err(Violations::field("key", "the same key belongs to another credential")),
            false => Ok(()),
        }
    }

    /// Takes a consumer out of a group that its row says no longer, before another row may say it again.
    pub fn leave_groups(&self, kind: &EntityKind, row: &Row) {
        let group = |field: &str| row.json.get(field).and_then(schema::Value::as_str).unwrap_or_default();
        let consumer = row.reference("consumer").unwrap_or_default();
        let says = match kind.name {
            "acls" => Entry::Acl((consumer, group("group").to_owned()).into()),
            "consumer_group_consumers" => {
                Entry::Member((consumer, row.reference("consumer_group").unwrap_or_default()).into())
            }
            _ => return,
        };
        let is_other = |held: &Held| held.get(&row.id).is_some_and(|own| *own != says);
        if is_other(&self.held.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.remove(kind, row.id);
        }
    }

    /// Takes out whatever came with a row that is not there any more.
    pub fn retain(&self, is_there: impl Fn(Uuid) -> bool) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Uuid> = held.keys().copied().filter(|id| !is_there(*id)).collect();
        for id in gone {
            if let Some(entry) = held.remove(&id) {
                self.release(id, &entry);
            }
        }
        let consumers: Vec<Uuid> =
            self.consumers.pin().iter().map(|own| own.0.id).filter(|id| !is_there(*id)).collect();
        consumers.into_iter().for_each(|id| self.remove_consumer(id));
        let groups: Vec<Uuid> = self.groups.pin().keys().copied().filter(|id| !is_there(*id)).collect();
        groups.into_iter().for_each(|id| self.remove_group(id));
    }

    /// Takes out what a row has brought in. It may be out already.
    pub fn remove(&self, kind: &EntityKind, id: Uuid) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match kind.name {
            "consumers" => self.remove_consumer(id),
            "consumer_groups" => self.remove_group(id),
            _ => {
                if let Some(entry) = held.remove(&id) {
                    self.release(id, &entry);
                }
            }
        }
    }

    /// What belongs to another row by now stays.
    fn release(&self, id: Uuid, entry: &Entry) {
        match entry {
            Entry::ApiKey(hash) => {
                let keys = self.keys.pin();
                let gone = keys.remove_if(hash, |_, key| key.id == id).ok().flatten();
                self.look_again(gone.map(|(_, own)| own.consumer.id));
            }
            Entry::Jwt(name) => {
                if let Ok(Some((_, old))) = self.jwts.pin().remove_if(name, |_, own| own.id == id) {
                    old.revoked.set();
                    self.look_again(Some(old.consumer));
                }
            }
            Entry::Basic(name) => {
                let names = self.basic.pin();
                let gone = names.remove_if(name, |_, own| own.id == id).ok().flatten();
                self.look_again(gone.map(|(_, own)| own.consumer));
            }
            Entry::Hmac(name) => {
                let names = self.hmac.pin();
                let gone = names.remove_if(name, |_, own| own.id == id).ok().flatten();
                self.look_again(gone.map(|(_, own)| own.consumer));
            }
            Entry::Certificate(name) => {
                let owner = self
                    .certificates
                    .pin()
                    .get(name)
                    .and_then(|all| Some(all.iter().find(|own| own.id == id)?.consumer));
                self.change_certificates(name, id, None);
                self.look_again(owner);
            }
            Entry::Acl(own) => self.change_consumer(own.0, |groups| groups.acl.retain(|name| *name != own.1)),
            Entry::Member(own) => {
                self.change_consumer(own.0, |groups| groups.consumer.retain(|group| group.id != own.1));
            }
        }
    }

    fn put_consumer(&self, row: consumer::Consumer) {
        let old = self.owner(row.id);
        let groups = old.as_ref().and_then(|old| old.groups.clone());
        let new = Arc::new(Consumer::new(row.id, row.username.map(Into::into), row.custom_id.map(Into::into), groups));
        self.consumers.pin().insert(ById(new.clone()));
        for (names, new, old) in [
            (&self.usernames, &new.username, old.as_ref().and_then(|old| old.username.as_ref())),
            (&self.custom_ids, &new.custom_id, old.as_ref().and_then(|old| old.custom_id.as_ref())),
        ] {
            let names = names.pin();
            if let Some(new) = new {
                names.insert(digest(new), row.id);
            }
            if let Some(old) = old.filter(|old| new.as_ref() != Some(old)) {
                let _ = names.remove_if(&digest(old), |_, own| *own == row.id);
            }
        }
        if let Some(old) = old {
            old.revoked.set();
        }
    }

    fn remove_consumer(&self, id: Uuid) {
        let Some(old) = self.owner(id) else { return };
        self.consumers.pin().remove(&id);
        for (names, name) in [(&self.usernames, &old.username), (&self.custom_ids, &old.custom_id)] {
            if let Some(name) = name {
                let _ = names.pin().remove_if(&digest(name), |_, own| *own == id);
            }
        }
        old.revoked.set();
    }

    /// What goes on for a consumer is looked at again: a credential has gone.
    fn look_again(&self, consumer: Option<Uuid>) {
        if let Some(id) = consumer {
            self.change_consumer(id, |_| ());
        }
    }

    /// Another consumer takes the place of the old one, which whoever has remembered it must not use any more. What changes
    /// is its groups: those of the `acl` plugin, and those that plugins are put on.
    fn change_consumer(&self, id: Uuid, change: impl Fn(&mut Groups)) {
        let Some(old) = self.owner(id) else { return };
        let mut groups = old.groups.as_deref().cloned().unwrap_or_default();
        change(&mut groups);
        groups.acl.sort_unstable();
        groups.acl.dedup();
        groups.consumer.sort();
        groups.consumer.dedup();
        let groups = Some(groups).filter(|groups| *groups != Groups::default()).map(Box::new);
        let new = Consumer::new(id, old.username.clone(), old.custom_id.clone(), groups);
        self.consumers.pin().insert(ById(Arc::new(new)));
        old.revoked.set();
    }

    fn put_group(&self, id: Uuid, name: &str) {
        let old = self.groups.pin().insert(id, name.into()).cloned();
        if old.is_some_and(|old| *old != *name) {
            self.change_members(id, |group| name.clone_into(&mut group.name));
        }
    }

    fn remove_group(&self, id: Uuid) {
        self.groups.pin().remove(&id);
    }

    /// Groups are renamed seldom: everybody is looked at.
    fn change_members(&self, id: Uuid, change: impl Fn(&mut ConsumerGroup)) {
        let consumers = self.consumers.pin();
        let is_member = |own: &&ById| own.0.consumer_groups().iter().any(|group| group.id == id);
        let members: Vec<Uuid> = consumers.iter().filter(is_member).map(|own| own.0.id).collect();
        for member in members {
            self.change_consumer(member, |groups| {
                groups.consumer.iter_mut().filter(|group| group.id == id).for_each(&change);
            });
        }
    }

    fn change_certificates(&self, name: &str, id: Uuid, with: Option<CertificateCredential>) {
        let certificates = self.certificates.pin();
        let others = certificates.get(name).into_iter().flat_map(|all| all.iter()).filter(|own| own.id != id).cloned();
        let all: Vec<CertificateCredential> = others.chain(with).collect();
        match all.is_empty() {
            true => drop(certificates.remove(name)),
            false => drop(certificates.insert(name.into(), all.into())),
        }
    }
}

impl Consumer {
    /// One that is not there (yet): whoever holds it looks it up anew.
    fn absent(id: Uuid) -> Consumer {
        let consumer = Consumer::new(id, None, None, None);
        consumer.revoked.set();
        consumer
    }

    fn new(id: Uuid, username: Option<Box<str>>, custom_id: Option<Box<str>>, groups: Option<Box<Groups>>) -> Consumer {
        Consumer { id, username, custom_id, groups, revoked: Revoked::default() }
    }
}

fn read<T: Schema>(kind: &EntityKind, row: &Row, vaults: &Vaults) -> Result<T, Violations> {
    model::configuration::typed(kind, row, vaults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::KINDS;
    use model::entity::kind;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use schema::{Value, json};
    use std::collections::HashMap;

    /// A change that the tests make: of which kind, which of few identities, and with which of few names; or none.
    type Step = (usize, u128, u128, Option<u8>);

    fn row(kind: &str, id: u128, owner: u128, name: u8) -> Row {
        let owner = json!({ "id": Uuid::from_u128(owner) });
        let mut entity = match kind {
            "consumers" => json!({ "username": format!("c{name}"), "custom_id": null }),
            "consumer_groups" => json!({ "name": format!("g{name}") }),
            "consumer_group_consumers" => {
                json!({ "consumer": owner, "consumer_group": { "id": Uuid::from_u128(100 + u128::from(name)) } })
            }
            "acls" => json!({ "consumer": owner, "group": format!("g{name}") }),
            "keyauth_credentials" => json!({ "consumer": owner, "key": format!("k{name}") }),
            "jwt_secrets" => {
                json!({ "consumer": owner, "key": format!("k{name}"), "secret": "s", "algorithm": "HS256" })
            }
            "basicauth_credentials" => json!({ "consumer": owner, "username": format!("u{name}"), "password": "p" }),
            "hmacauth_credentials" => json!({ "consumer": owner, "username": format!("u{name}"), "secret": "s" }),
            _ => json!({ "consumer": owner, "subject_name": format!("s{name}") }),
        };
        entity["id"] = json!(Uuid::from_u128(id));
        Row::new(entity.as_object().cloned().unwrap_or_default(), None).expect("it has an identity")
    }

    /// Everything that a registry answers about few names.
    fn known(registry: &Registry) -> Vec<Value> {
        let who = |identity: Option<crate::identity::Identity>| {
            let identity = identity?;
            let consumer = identity.consumer?;
            let groups: Vec<&str> = consumer.consumer_groups().iter().map(|group| group.name.as_str()).collect();
            let by = identity.credential.map(|own| format!("{:?}", own.identifier));
            Some(json!([consumer.id, consumer.username, consumer.groups(), groups, by]))
        };
        let of = |name: u8| {
            let named = match registry.certificate(&format!("s{name}"), Uuid::nil()) {
                crate::registry::Named::By(identity) => who(Some(identity)),
                _ => None,
            };
            json!([
                registry.consumer_by_username(&format!("c{name}")).map(|own| own.id),
                who(registry.api_key(&format!("k{name}"), 0)),
                registry.jwt(&format!("k{name}")).map(|(own, identity)| (own.is_revoked(), who(Some(identity)))),
                registry.hmac(&format!("u{name}")).map(|(_, identity)| who(Some(identity))),
                registry.has_basic(&format!("u{name}")),
                named,
            ])
        };
        (0..4).map(of).collect()
    }

    /// One row says a group no longer, another one says it now, and the news of both comes at once, the other one first.
    #[test]
    fn a_group_that_another_row_says_stays() {
        let (registry, vaults, consumer) = (Registry::default(), Vaults::default(), 7);
        let put = |name: &str, row: &Row| registry.put(kind(name).expect("it is one"), row, &vaults).expect("it fits");
        put("consumers", &row("consumers", consumer, 0, 0));
        put("acls", &row("acls", 1, consumer, 1));
        let news = [row("acls", 2, consumer, 1), row("acls", 1, consumer, 2)];
        news.iter().for_each(|row| registry.leave_groups(kind("acls").expect("it is one"), row));
        news.iter().for_each(|row| put("acls", row));
        let found = registry.consumer_by_username("c0").expect("it was put there");
        assert_eq!(found.groups(), ["g1", "g2"]);
    }

    /// Whoever has remembered somebody whose row has gone must look again, and finds nobody.
    #[test]
    fn who_is_not_there_any_more_is_unknown() {
        let (registry, vaults) = (Arc::new(Registry::default()), Vaults::default());
        let put = |name: &str, row: Row| registry.put(kind(name).expect("it is one"), &row, &vaults).expect("it fits");
        for number in [1, 2] {
            put("consumers", row("consumers", 10 + u128::from(number), 0, number));
            put("consumer_groups", row("consumer_groups", 100 + u128::from(number), 0, number));
            put(
                "consumer_group_consumers",
                row("consumer_group_consumers", 30 + u128::from(number), 10 + u128::from(number), number),
            );
            put(
                "keyauth_credentials",
                row("keyauth_credentials", 20 + u128::from(number), 10 + u128::from(number), number),
            );
        }
        let lasting =
            |key: &str| crate::registry::Lasting::of(registry.api_key(key, 0).as_ref(), &registry).expect("a consumer");
        let (gone, stays) = (lasting("k1"), lasting("k2"));
        registry.retain(|id| [12, 22, 32, 102].contains(&id.as_u128()));
        assert_eq!((gone.is_over(), stays.is_over()), (true, false));
        assert!(registry.api_key("k1", 0).is_none() && registry.consumer_by_username("c1").is_none());
        assert_eq!(registry.consumer_by_username("c2").map(|own| own.consumer_groups().len()), Some(1));
    }

    proptest! {
        /// However it came about, a registry knows what one knows that was told the outcome alone.
        #[test]
        fn changes_one_by_one_end_as_the_whole(steps in vec((0..KINDS.len(), 0..4_u128, 0..4_u128, proptest::option::of(0..4_u8)), 0..60)) {
            let (registry, vaults) = (Registry::default(), Vaults::default());
            let mut rows: HashMap<(usize, u128), Row> = HashMap::new();
            for (index, id, owner, name) in steps as Vec<Step> {
                let kind = kind(KINDS[index]).expect("it is one");
                // Identities are one's own: those of different kinds differ.
                let id = 100 * index as u128 + id;
                let new = name.map(|name| row(kind.name, id, owner, name));
                // The store lets nobody have what is another's alone.
                let taken = new.as_ref().is_some_and(|new| rows.iter().any(|((other, _), own)| {
                    *other == index && own.id != new.id && kind.claims(&own.json).iter().any(|claim| kind.claims(&new.json).contains(claim))
                }));
                // Nor lets it refer to what is not there.
                let there = |id: Uuid| rows.contains_key(&((id.as_u128() / 100) as usize, id.as_u128()));
                let lost = new.as_ref().is_some_and(|new| {
                    ["consumer", "consumer_group"].iter().filter_map(|field| new.reference(field)).any(|id| !there(id))
                });
                match new {
                    Some(_) if taken || lost => {}
                    Some(new) => {
                        registry.put(kind, &new, &vaults).expect("it is right");
                        rows.insert((index, id), new);
                    }
                    None => {
                        registry.remove(kind, Uuid::from_u128(id));
                        rows.remove(&(index, id));
                        // The store removes what belongs to what it removes.
                        let orphans: Vec<(usize, u128)> = rows.iter().filter(|(_, row)| {
                            ["consumer", "consumer_group"].iter().any(|field| row.reference(field) == Some(Uuid::from_u128(id)))
                        }).map(|(key, _)| *key).collect();
                        for (index, id) in orphans {
                            registry.remove(model::entity::kind(KINDS[index]).expect("it is one"), Uuid::from_u128(id));
                            rows.remove(&(index, id));
                        }
                    }
                }
            }
            let whole = Registry::default();
            for (index, name) in KINDS.iter().enumerate() {
                let mut all: Vec<_> = rows.iter().filter(|((own, _), _)| *own == index).collect();
                all.sort_by_key(|((_, id), _)| *id);
                for (_, row) in all {
                    whole.put(kind(name).expect("it is one"), row, &vaults).expect("it is right");
                }
            }
            prop_assert_eq!(known(&registry), known(&whole));
        }
    }
}
