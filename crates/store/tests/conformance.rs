//! What either engine must do, on both: SQLite in a temporary directory, and a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at its first surprise")]

use jose::seal::Ring;
use model::entity::kind;
use model::rows::{Asked, AuditPart, Audited, Below, Part, Refused, TagPart, Tagged, Unavailable};
use model::{EntityKind, Row, Rows};
use schema::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{env, fs, process, thread};
use store::{Author, Feed, LastKnown, Place, PostgresSettings, Store};
use uuid::Uuid;

#[path = "../../../tests/src/postgres.rs"]
mod postgres;

const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEXT_KEY: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// An engine with an empty database, that can be opened more than once.
trait Engine {
    fn place(&self) -> Place;

    fn open(&self) -> Store {
        self.open_with(KEY).unwrap()
    }

    fn open_with(&self, keys: &str) -> Result<Store, Unavailable> {
        let store = Store::new(self.place(), Arc::new(Ring::read(keys).unwrap()))?;
        store.open().map(|()| store)
    }

    /// Everything that a thief of the database would get.
    fn stolen(&self) -> Vec<u8>;
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("portcullis-store-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("portcullis.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Engine for Folder {
    fn place(&self) -> Place {
        Place::Sqlite(self.file())
    }

    fn stolen(&self) -> Vec<u8> {
        let files = fs::read_dir(&self.0).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        files.collect::<Vec<_>>().concat()
    }
}

struct Server<'a> {
    server: &'a postgres::Postgres,
    schema: String,
}

impl Engine for Server<'_> {
    fn place(&self) -> Place {
        Place::Postgres(PostgresSettings {
            host: "127.0.0.1".to_owned(),
            port: self.server.port(),
            user: postgres::USER.to_owned(),
            password: Some(postgres::PASSWORD.to_owned()),
            database: postgres::USER.to_owned(),
            schema: Some(self.schema.clone()),
            timeout: Duration::from_secs(20),
            tls: None,
        })
    }

    fn stolen(&self) -> Vec<u8> {
        let tables = ["entities", "claims", "links", "tags", "changes", "facts", "audit"];
        let dump = |table: &&str| {
            let sql = format!("SELECT encode(convert_to(t::text, 'UTF8'), 'escape') FROM {}.{table} t", self.schema);
            let bodies = match *table {
                "entities" => self.server.sql(&format!("SELECT encode(body, 'escape') FROM {}.entities", self.schema)),
                _ => String::new(),
            };
            self.server.sql(&sql) + &bodies
        };
        tables.iter().map(dump).collect::<String>().into_bytes()
    }
}

type Check = fn(&dyn Engine);

/// The suite, by name.
const SUITE: &[(&str, Check)] = &[
    ("what is put is there, whole, and in the next process too", put_and_find),
    ("what is one's alone is nobody else's", claims),
    ("references lead somewhere, and removal goes along them or not at all", references),
    ("lists come in pages, by parents and tags", lists),
    ("what fails changes nothing", all_or_nothing),
    ("the feed tells of every change, in order, once", feed),
    ("what is over holds nothing", expiry),
    ("what is over is swept away", sweeping),
    ("who was away for too long reads everything again", lost_feed),
    ("a copy follows, and is as good as the database", last_known),
    ("a backup holds everything, for either engine", backup),
    ("who changed what is written down, and nothing else", audit),
    ("a stolen database says no secret", sealing),
    ("writers at the same time do not lose each other's changes", writers),
    ("who watches is told", watching),
];

#[test]
fn sqlite_does_it_all() {
    for (name, check) in SUITE {
        println!("{name}");
        check(&Folder::new());
    }
}

#[test]
fn postgres_does_it_all() {
    let server = postgres::Postgres::start();
    for (index, (name, check)) in SUITE.iter().enumerate() {
        println!("{name}");
        let schema = format!("suite_{index}");
        server.sql(&format!("CREATE SCHEMA {schema}"));
        check(&Server { server: &server, schema });
    }
}

fn row(id: u128, mut entity: Value) -> Row {
    entity["id"] = json!(Uuid::from_u128(id));
    Row::new(entity.as_object().unwrap().clone(), None).unwrap()
}

fn consumer(id: u128, name: &str) -> Row {
    row(id, json!({ "username": name, "tags": null }))
}

fn api_key(id: u128, consumer: u128, key: &str) -> Row {
    row(id, json!({ "key": key, "consumer": { "id": Uuid::from_u128(consumer) } }))
}

fn of(name: &str) -> &'static EntityKind {
    kind(name).unwrap()
}

fn put(store: &Store, kind: &str, row: &Row) -> Result<(), Refused> {
    store.change(None, |change| change.put(of(kind), row))
}

fn find(store: &Store, kind: &str, field: &'static str, value: &str) -> Option<Uuid> {
    let asked = Asked { field, value, below: None, now: 0 };
    store.read(|rows| rows.by_field(of(kind), &asked)).unwrap().map(|row| row.id)
}

fn list(store: &Store, kind: &str, part: &Part) -> Vec<u128> {
    let rows = store.read(|rows| rows.list(of(kind), part)).unwrap();
    rows.iter().map(|row| row.id.as_u128()).collect()
}

const ALL: Part = Part { below: None, tagged: &Tagged::Anyhow, from: Uuid::nil(), count: 100, now: 0 };

fn since(store: &Store, number: u64) -> (Vec<store::Changed>, u64) {
    match store.changes(number).unwrap() {
        Feed::Since(changed, last) => (changed, last),
        Feed::Lost => panic!("the feed does not go back to {number}"),
    }
}

fn put_and_find(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann \"ü'")).unwrap();
    put(&store, "keyauth_credentials", &api_key(2, 1, "k-1")).unwrap();
    drop(store);
    let store = engine.open();
    let found = store.read(|rows| rows.by_id(of("keyauth_credentials"), Uuid::from_u128(2), 0)).unwrap().unwrap();
    assert_eq!(found.json, api_key(2, 1, "k-1").json);
    assert_eq!(find(&store, "keyauth_credentials", "key", "k-1"), Some(Uuid::from_u128(2)));
    assert_eq!(find(&store, "consumers", "username", "ann \"ü'"), Some(Uuid::from_u128(1)));
    assert_eq!(find(&store, "consumers", "username", "ANN \"ü'"), None);
    // A new name takes the place of the old one.
    put(&store, "consumers", &consumer(1, "bob")).unwrap();
    assert_eq!(find(&store, "consumers", "username", "ann \"ü'"), None);
    assert_eq!(find(&store, "consumers", "username", "bob"), Some(Uuid::from_u128(1)));
    assert_eq!(store.read(|rows| rows.count(of("consumers"))).unwrap(), 1);
    let mut each = Vec::new();
    store.each(of("consumers"), |row| each.push(row.id.as_u128())).unwrap();
    assert_eq!(each, [1]);
}

fn claims(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    let taken = |result: Result<(), Refused>| match result {
        Err(Refused::Taken { claim, .. }) => claim.fields.join(", "),
        other => panic!("{other:?}"),
    };
    assert_eq!(taken(put(&store, "consumers", &consumer(2, "ann"))), "username");
    put(&store, "consumers", &consumer(2, "bob")).unwrap();
    put(&store, "keyauth_credentials", &api_key(3, 1, "k")).unwrap();
    assert_eq!(taken(put(&store, "keyauth_credentials", &api_key(4, 2, "k"))), "key");
    let acl =
        |id, consumer, group: &str| row(id, json!({ "group": group, "consumer": { "id": Uuid::from_u128(consumer) } }));
    put(&store, "acls", &acl(5, 1, "g")).unwrap();
    put(&store, "acls", &acl(6, 2, "g")).unwrap();
    assert_eq!(taken(put(&store, "acls", &acl(7, 1, "g"))), "consumer, group");
    // Two that have none do not have the same.
    put(&store, "consumers", &row(8, json!({ "username": null, "custom_id": "a" }))).unwrap();
    put(&store, "consumers", &row(9, json!({ "username": null, "custom_id": "b" }))).unwrap();
    // What is unique below a parent only is found there.
    let asked = |consumer| Asked {
        field: "group",
        value: "g",
        below: Some(Below { field: "consumer", parent: Uuid::from_u128(consumer), parent_kind: "consumers" }),
        now: 0,
    };
    let found = store.read(|rows| rows.by_field(of("acls"), &asked(2))).unwrap();
    assert_eq!(found.map(|row| row.id.as_u128()), Some(6));
}

fn references(engine: &dyn Engine) {
    let store = engine.open();
    let service = row(1, json!({ "name": "s", "host": "h" }));
    let route = |id| row(id, json!({ "name": "r", "service": { "id": Uuid::from_u128(1) } }));
    assert!(matches!(put(&store, "routes", &route(2)), Err(Refused::NoParent { field: "service", .. })));
    put(&store, "services", &service).unwrap();
    put(&store, "routes", &route(2)).unwrap();
    let plugin = row(3, json!({ "name": "jwt", "route": { "id": Uuid::from_u128(2) } }));
    put(&store, "plugins", &plugin).unwrap();
    let remove = |kind, id| store.change(None, |change| change.remove(of(kind), Uuid::from_u128(id)));
    match remove("services", 1) {
        Err(Refused::InUse { kind: "services", by: "routes" }) => {}
        other => panic!("{other:?}"),
    }
    // A plugin goes with its route.
    remove("routes", 2).unwrap();
    assert_eq!(list(&store, "plugins", &ALL), [0; 0]);
    remove("services", 1).unwrap();
    remove("services", 1).unwrap();
    assert_eq!(list(&store, "services", &ALL), [0; 0]);
}

fn lists(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    put(&store, "consumers", &consumer(2, "bob")).unwrap();
    for id in 10..20 {
        let tags = if id % 2 == 0 { json!(["even", "all"]) } else { json!(["all"]) };
        let mut key = api_key(id, 1 + id % 2, &format!("k{id}"));
        key.json.insert("tags".to_owned(), tags);
        put(&store, "keyauth_credentials", &key).unwrap();
    }
    let keys = "keyauth_credentials";
    assert_eq!(list(&store, keys, &Part { count: 3, ..ALL }), [10, 11, 12]);
    assert_eq!(list(&store, keys, &Part { count: 3, from: Uuid::from_u128(18), ..ALL }), [18, 19]);
    let below = Some(Below { field: "consumer", parent: Uuid::from_u128(2), parent_kind: "consumers" });
    assert_eq!(list(&store, keys, &Part { below, count: 2, from: Uuid::from_u128(12), ..ALL }), [13, 15]);
    let tags = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let every = Tagged::Every(tags(&["even", "all"]));
    assert_eq!(list(&store, keys, &Part { tagged: &every, ..ALL }), [10, 12, 14, 16, 18]);
    let any = Tagged::Any(tags(&["even", "none"]));
    assert_eq!(list(&store, keys, &Part { tagged: &any, below, ..ALL }), [0; 0]);
    let part = TagPart { only: None, from: None, count: 4, now: 0 };
    let found = store.read(|rows| rows.tags(&part)).unwrap();
    let short: Vec<(u128, &str)> = found.iter().map(|(_, id, tag)| (id.as_u128(), tag.as_str())).collect();
    assert_eq!(short, [(10, "all"), (10, "even"), (11, "all"), (12, "all")]);
    let part = TagPart { only: Some("even"), from: found.get(1), count: 2, now: 0 };
    let found = store.read(|rows| rows.tags(&part)).unwrap();
    assert_eq!(found.iter().map(|(_, id, _)| id.as_u128()).collect::<Vec<_>>(), [10, 12]);
}

fn all_or_nothing(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    let before = store.last_change().unwrap();
    let failed = store.change(None, |change| {
        change.put(of("consumers"), &consumer(2, "bob"))?;
        change.remove(of("consumers"), Uuid::from_u128(1))?;
        // It sees what it did itself.
        assert!(change.by_id(of("consumers"), Uuid::from_u128(1), 0)?.is_none());
        change.put(of("consumers"), &consumer(3, "bob"))
    });
    assert!(failed.is_err());
    assert_eq!((list(&store, "consumers", &ALL), store.last_change().unwrap()), (vec![1], before));
    put(&store, "consumers", &consumer(2, "bob")).unwrap();
}

fn feed(engine: &dyn Engine) {
    let store = engine.open();
    let (none, start) = since(&store, 0);
    assert!(none.is_empty());
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    put(&store, "consumers", &consumer(2, "bob")).unwrap();
    put(&store, "keyauth_credentials", &api_key(3, 1, "k")).unwrap();
    put(&store, "consumers", &consumer(1, "ann again")).unwrap();
    let told = |after| {
        let (changed, last) = since(&store, after);
        (changed.iter().map(|changed| (changed.kind.name, changed.id.as_u128())).collect::<Vec<_>>(), last)
    };
    let (changed, last) = told(start);
    assert_eq!(changed, [("consumers", 2), ("keyauth_credentials", 3), ("consumers", 1)]);
    // A consumer takes its key along, and the feed tells of both.
    store.change(None, |change| change.remove(of("consumers"), Uuid::from_u128(1))).unwrap();
    let (changed, end) = told(last);
    assert_eq!(changed, [("keyauth_credentials", 3), ("consumers", 1)]);
    assert_eq!(told(end), (vec![], end));
    assert_eq!(engine.open().last_change().unwrap(), end);
}

fn expiry(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    let over = Row { expires_at: Some(100), ..api_key(2, 1, "k") };
    put(&store, "keyauth_credentials", &over).unwrap();
    let id = Uuid::from_u128(2);
    let at = |now| store.read(|rows| rows.by_id(of("keyauth_credentials"), id, now)).unwrap().map(|row| row.expires_at);
    assert_eq!((at(99), at(100)), (Some(Some(100)), None));
    assert_eq!(list(&store, "keyauth_credentials", &Part { now: 100, ..ALL }), [0; 0]);
    // Somebody else may have the key now.
    put(&store, "keyauth_credentials", &api_key(3, 1, "k")).unwrap();
    assert_eq!(list(&store, "keyauth_credentials", &ALL), [3]);
}

fn sweeping(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    put(&store, "keyauth_credentials", &Row { expires_at: Some(100), ..api_key(2, 1, "k") }).unwrap();
    put(&store, "keyauth_credentials", &Row { expires_at: Some(u32::MAX.into()), ..api_key(3, 1, "l") }).unwrap();
    let before = store.last_change().unwrap();
    store.sweep().unwrap();
    let (changed, _) = since(&store, before);
    assert_eq!(changed.iter().map(|changed| changed.id.as_u128()).collect::<Vec<_>>(), [2]);
    assert_eq!(list(&store, "keyauth_credentials", &ALL), [3]);
    store.sweep().unwrap();
    assert_eq!(store.last_change().unwrap(), before + 1);
}

fn lost_feed(engine: &dyn Engine) {
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    let last = store.last_change().unwrap();
    assert!(matches!(store.changes(last + 1).unwrap(), Feed::Lost));
    assert!(matches!(store.changes(last).unwrap(), Feed::Since(changed, _) if changed.is_empty()));
}

fn last_known(engine: &dyn Engine) {
    let (store, folder) = (engine.open(), Folder::new());
    let ring = || Arc::new(Ring::read(KEY).unwrap());
    let copy = || LastKnown::new(folder.file(), ring()).unwrap();
    let keys = || {
        let mut found = Vec::new();
        copy().each(of("keyauth_credentials"), |row| found.push((row.id.as_u128(), row.expires_at))).unwrap();
        found
    };
    assert_eq!(copy().number().unwrap(), None);
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    put(&store, "keyauth_credentials", &Row { expires_at: Some(u32::MAX.into()), ..api_key(2, 1, "the-only-key") })
        .unwrap();
    copy().follow(&store).unwrap();
    assert_eq!(copy().number().unwrap(), Some(store.last_change().unwrap()));
    assert_eq!(keys(), [(2, Some(u32::MAX.into()))]);
    let holds = |text: &str| folder.stolen().windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("ann") && !holds("the-only-key"));
    put(&store, "keyauth_credentials", &api_key(3, 1, "another")).unwrap();
    store.change(None, |change| change.remove(of("keyauth_credentials"), Uuid::from_u128(2))).unwrap();
    copy().follow(&store).unwrap();
    assert_eq!(keys(), [(3, None)]);
    // One under another key says so, and is made anew once it is taken away.
    let under_another = LastKnown::new(folder.file(), Arc::new(Ring::read(NEXT_KEY).unwrap())).unwrap();
    assert!(under_another.number().is_err());
    under_another.remove();
    under_another.follow(&store).unwrap();
    assert_eq!(under_another.number().unwrap(), Some(store.last_change().unwrap()));
    under_another.remove();
    // Of another database, whatever its numbers: all of it is read again.
    let other = Folder::new().open();
    put(&other, "consumers", &consumer(7, "zoe")).unwrap();
    put(&other, "keyauth_credentials", &api_key(8, 7, "k")).unwrap();
    copy().follow(&other).unwrap();
    assert_eq!(keys(), [(8, None)]);
}

fn backup(engine: &dyn Engine) {
    let (store, folder) = (engine.open(), Folder::new());
    put(&store, "consumers", &consumer(1, "ann")).unwrap();
    put(&store, "keyauth_credentials", &Row { expires_at: Some(u32::MAX.into()), ..api_key(2, 1, "the-only-key") })
        .unwrap();
    let file = folder.0.join("backup");
    store.back_up(&file).unwrap();
    assert!(store.back_up(&file).is_err());
    assert!(!folder.stolen().windows(12).any(|part| part == b"the-only-key"));
    put(&store, "consumers", &consumer(1, "zoe")).unwrap();
    put(&store, "consumers", &consumer(3, "ann")).unwrap();
    put(&store, "keyauth_credentials", &api_key(4, 3, "later")).unwrap();
    let before = store.last_change().unwrap();
    store.restore(&file).unwrap();
    assert_eq!((list(&store, "consumers", &ALL), list(&store, "keyauth_credentials", &ALL)), (vec![1], vec![2]));
    assert_eq!(find(&store, "keyauth_credentials", "key", "the-only-key"), Some(Uuid::from_u128(2)));
    assert_eq!(find(&store, "consumers", "username", "ann"), Some(Uuid::from_u128(1)));
    // Gates that run are told of all that is gone and all that came.
    let told: Vec<u128> = since(&store, before).0.iter().map(|changed| changed.id.as_u128()).collect();
    assert!([1, 2, 3, 4].iter().all(|id| told.contains(id)), "{told:?}");
    assert!(store.restore(&folder.0.join("none")).is_err());
    // What is no whole backup takes nothing away.
    fs::write(folder.0.join("empty"), "").unwrap();
    assert!(store.restore(&folder.0.join("empty")).unwrap_err().to_string().contains("no whole backup"));
    assert_eq!(list(&store, "consumers", &ALL), [1]);
}

fn audit(engine: &dyn Engine) {
    let store = engine.open();
    let shown = |_: &'static EntityKind, entity: &Map<String, Value>| json!(entity.get("username"));
    let by = |name| Author { name, shown: &shown };
    put(&store, "consumers", &consumer(9, "not written down")).unwrap();
    let change = |name, row: &Row| store.change(Some(&by(name)), |change| change.put(of("consumers"), row));
    change("ops", &consumer(1, "ann")).unwrap();
    change("ci", &consumer(1, "anna")).unwrap();
    change("ops", &consumer(2, "anna")).unwrap_err();
    store.change(Some(&by("ops")), |change| change.remove(of("consumers"), Uuid::from_u128(1))).unwrap();
    let all = AuditPart { count: 10, ..AuditPart::default() };
    let told = |part: &AuditPart| {
        let told = |one: Audited| (one.who, one.id.as_u128(), one.before, one.after);
        Rows::audit(&store, part).unwrap().into_iter().map(told).collect::<Vec<_>>()
    };
    let one = |who: &str, before: Option<&str>, after: Option<&str>| {
        (who.to_owned(), 1, before.map(|name| json!(name)), after.map(|name| json!(name)))
    };
    let (first, second, third) =
        (one("ops", None, Some("ann")), one("ci", Some("ann"), Some("anna")), one("ops", Some("anna"), None));
    assert_eq!(told(&all), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(told(&AuditPart { who: Some("ci"), ..all.clone() }), std::slice::from_ref(&second));
    assert_eq!(told(&AuditPart { kind: Some("routes"), ..all.clone() }), []);
    assert_eq!(told(&AuditPart { id: Some(Uuid::from_u128(1)), count: 1, ..all.clone() }), [first]);
    let from = Rows::audit(&store, &all).unwrap()[1].number;
    assert_eq!(told(&AuditPart { from, ..all.clone() }), [second, third]);
    store.forget_audit(u32::MAX.into()).unwrap();
    assert_eq!(told(&all), []);
}

fn sealing(engine: &dyn Engine) {
    const SECRETS: &[&str] = &["an-api-key-nobody-knows", "a-signing-secret", "a-private-key", "a-plugins-password"];
    let store = engine.open();
    put(&store, "consumers", &consumer(1, "a-name-that-may-be-seen")).unwrap();
    put(&store, "keyauth_credentials", &api_key(2, 1, SECRETS[0])).unwrap();
    let owner = json!({ "id": Uuid::from_u128(1) });
    put(&store, "hmacauth_credentials", &row(3, json!({ "username": "u", "secret": SECRETS[1], "consumer": owner })))
        .unwrap();
    put(&store, "certificates", &row(4, json!({ "cert": "c", "key": SECRETS[2] }))).unwrap();
    put(&store, "plugins", &row(5, json!({ "name": "p", "config": { "password": SECRETS[3] } }))).unwrap();
    let stolen = engine.stolen();
    let holds = |text: &str| stolen.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("a-name-that-may-be-seen"), "the test would not see a secret");
    assert!(!SECRETS.iter().any(|secret| holds(secret)));
    drop(store);
    // Another key opens nothing, and says so at once.
    let error = engine.open_with(NEXT_KEY).err().unwrap().to_string();
    assert!(error.contains("encryption key"), "{error}");
    // A new key, with the old one beside it, until everything is sealed anew.
    let both = format!("{NEXT_KEY}\n{KEY}");
    let store = engine.open_with(&both).unwrap();
    assert_eq!(store.seal_anew(|_| ()).unwrap(), 4);
    assert_eq!(store.seal_anew(|_| ()).unwrap(), 0);
    drop(store);
    let store = engine.open_with(NEXT_KEY).unwrap();
    assert_eq!(find(&store, "keyauth_credentials", "key", SECRETS[0]), Some(Uuid::from_u128(2)));
}

fn writers(engine: &dyn Engine) {
    const WRITERS: u128 = 4;
    const EACH: u128 = 25;
    engine.open();
    let stores: Vec<Store> = (0..WRITERS).map(|_| engine.open()).collect();
    thread::scope(|scope| {
        for (writer, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for index in 0..EACH {
                    let id = 1 + writer as u128 * EACH + index;
                    put(store, "consumers", &consumer(id, &format!("c{id}"))).unwrap();
                    // All want this one name: one has it.
                    let _ = put(store, "consumers", &consumer(1000 + id, "the one"));
                }
            });
        }
    });
    let store = engine.open();
    assert_eq!(list(&store, "consumers", &Part { count: 1000, ..ALL }).len() as u128, WRITERS * EACH + 1);
    // A number for each change, without a gap, however many have written.
    let (changed, last) = since(&store, 0);
    assert_eq!((changed.len() as u64, last), ((WRITERS * EACH + 1) as u64, (WRITERS * EACH + 1) as u64));
}

fn watching(engine: &dyn Engine) {
    let (one, other) = (Arc::new(engine.open()), engine.open());
    let (tell, told) = mpsc::channel();
    let start = one.last_change().unwrap();
    let seen = Arc::downgrade(&one);
    let look = move || {
        if let Some(store) = seen.upgrade()
            && let Ok(Feed::Since(changed, last)) = store.changes(start)
            && !changed.is_empty()
        {
            let _ = tell.send(last);
        }
    };
    one.watch(look).unwrap();
    put(&other, "consumers", &consumer(1, "ann")).unwrap();
    assert!(told.recv_timeout(Duration::from_secs(20)).unwrap() > start);
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    drop(folder.open());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.file()), 0o600);
}
