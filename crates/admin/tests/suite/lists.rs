//! Lists: pages, tags, and the lists of tags.

use crate::gate::{SHOP, admin, fits, get};
use schema::{Value, json};
use std::collections::BTreeSet;

fn check(path: &str, status: u16, expected: Value) {
    let answer = get(&admin(SHOP), path);
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{path}: {} is not {expected}", answer.text);
}

#[test]
fn every_kind_is_listed() {
    for (path, count) in [
        ("/services", 2),
        ("/routes", 2),
        ("/consumers", 2),
        ("/plugins", 1),
        ("/upstreams", 2),
        ("/upstreams/u.test/targets", 2),
        ("/acls", 1),
        ("/jwts", 1),
        ("/snis", 2),
        ("/vaults", 1),
        ("/keys", 1),
        ("/key-sets", 1),
        ("/key-sets/ks/keys", 1),
        ("/services/s/routes", 1),
        ("/services/s/plugins", 1),
        ("/services/other/routes", 0),
        ("/consumers/c/key-auth", 2),
        ("/consumers/c/acls", 1),
        ("/consumers/c/plugins", 0),
        ("/certificates/a.test/snis", 2),
        ("/hmac-auths", 0),
        ("/oauth2_tokens", 0),
        ("/ca_certificates", 0),
    ] {
        check(path, 200, json!({"data": vec!["*"; count], "next": null, "offset": null}));
    }
    assert_eq!(get(&admin(SHOP), "/hmac-auths").text, r#"{"data":[],"next":null}"#);
}

/// Follows `next` to the end.
fn walk(path: &str) -> Vec<usize> {
    let admin = admin(SHOP);
    let (mut next, mut sizes, mut seen) = (Some(path.to_owned()), Vec::new(), BTreeSet::new());
    while let Some(path) = next {
        let page = get(&admin, &path).json();
        let data = page["data"].as_array().unwrap();
        assert!(data.iter().all(|item| seen.insert(item.to_string())), "{path} repeats an item");
        sizes.push(data.len());
        assert_eq!(page["next"].is_null(), page.get("offset").is_none(), "{path}");
        next = page["next"].as_str().map(str::to_owned);
    }
    sizes
}

#[test]
fn pages_follow_one_another() {
    assert_eq!(walk("/services?size=1"), [1, 1]);
    assert_eq!(walk("/services?size=2"), [2]);
    assert_eq!(walk("/services?size=1000&unknown=1"), [2]);
    assert_eq!(walk("/services/?size=1&tags=t1,t3"), [1]);
    assert_eq!(walk("/services?size=1&tags=t%202/t3"), [1, 1]);
    assert_eq!(walk("/consumers/c/key-auth?size=1"), [1, 1]);
    assert_eq!(walk("/tags?size=2"), [2, 2, 1]);
    let page = get(&admin(SHOP), "/services?tags=t1&size=1").json();
    let expected = format!("/services?offset={}&tags=t1&size=1", page["offset"].as_str().unwrap());
    assert_eq!(page["next"], expected);
}

#[test]
fn lists_are_in_the_order_of_ids() {
    let list = get(&admin(SHOP), "/routes").json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted());
}

#[test]
fn bad_pages_are_refused() {
    let size = |message: &str| json!({"code": 9, "name": "invalid size", "message": message});
    check("/consumers?size=x", 400, size("size must be a number"));
    for path in ["/services?size=0", "/services?size=1001", "/services?size=-1", "/services?size=1.5", "/tags?size=NaN"]
    {
        check(path, 400, size("size must be an integer between 1 and 1000"));
    }
    let offset = |message: &str| json!({"code": 7, "name": "invalid offset", "message": message});
    check("/consumers?offset=x", 400, offset("'x' is not a valid offset: bad base64 encoding"));
    check("/services?offset=AAAA", 400, offset("'AAAA' is not a valid offset: bad json encoding"));
}

#[test]
fn tags_filter() {
    let names = |path: &str| -> BTreeSet<String> {
        let list = get(&admin(SHOP), path).json();
        list["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/services?tags=t1"), BTreeSet::from(["s".to_owned(), "other".to_owned()]));
    assert_eq!(names("/services?tags=t1,t3"), BTreeSet::from(["other".to_owned()]));
    assert_eq!(names("/services?tags=t+2/t3"), BTreeSet::from(["s".to_owned(), "other".to_owned()]));
    assert_eq!(names("/services?tags=t"), BTreeSet::new());
    // Below a parent there is no filter.
    assert_eq!(names("/services/s/routes?tags=nope"), BTreeSet::from(["r".to_owned()]));
    let option = |text: &str| {
        json!({
            "code": 11, "name": "invalid options",
            "message": format!("invalid option (tags: {text})"), "options": {"tags": text},
        })
    };
    check("/services?tags=a,b/c", 400, option("invalid filter syntax"));
    check("/services?tags=a,", 400, option("invalid filter syntax"));
    check("/services?tags=", 400, option("cannot be null"));
    check("/services?tags=a,b,c,d,e,f", 400, option("cannot query more than 5 tags"));
}

#[test]
fn tags_are_listed() {
    let service = json!({"entity_name": "services", "entity_id": "11111111-1111-4111-8111-111111111111", "tag": "t3"});
    check("/tags/t3", 200, json!({"data": [service], "next": null}));
    check("/tags/t%202", 200, json!({"data": [{"entity_name": "services"}]}));
    check("/tags", 200, json!({"data": ["*", "*", "*", "*", "*"]}));
    check("/tags/none", 200, json!({"data": [], "next": null}));
}

#[test]
fn consumers_are_found_by_custom_id() {
    check("/consumers?custom_id=cid-1", 200, json!({"data": [{"username": "c"}], "next": null}));
    check("/consumers?custom_id=zz", 200, json!({"data": [], "next": null}));
}
