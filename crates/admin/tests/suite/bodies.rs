//! Bodies of requests about entities, by media type.

use crate::gate::{SHOP, admin, fits, send};
use schema::{Value, json};

fn check(path: &str, content_type: Option<&str>, body: &str, status: u16, expected: Value) {
    let answer = send(&admin(SHOP), "POST", path, content_type, body.as_bytes());
    assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
    assert!(fits(&expected, &answer.json()), "{body}: {}", answer.text);
}

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

#[test]
fn forms_are_read_by_the_schema() {
    let yes = || json!({"message": "schema validation successful"});
    check(
        "/services",
        FORM,
        "host=x&port=70000",
        400,
        json!({"code": 2, "fields": {"port": "value should be between 0 and 65535"}}),
    );
    check(
        "/schemas/services/validate",
        FORM,
        "name=f&url=https%3A%2F%2Ff.test%2Fp&retries=3&tags[]=a&tags[]=b",
        200,
        yes(),
    );
    let plugin = "name=key-auth&config.key_names[]=k1&config.key_names[]=k2&config.hide_credentials=true";
    check("/schemas/plugins/validate", FORM, plugin, 200, yes());
    check("/services/s/plugins", FORM, plugin, 405, json!({"code": 12}));
    check(
        "/services/s/plugins",
        FORM,
        "name=key-auth&config.hide_credentials=maybe",
        400,
        json!({"fields": {"config": {"hide_credentials": "expected a boolean"}}}),
    );
    let part = "--x\r\nContent-Disposition: form-data; name=\"host\"\r\n\r\nh.test\r\n--x--\r\n";
    check("/schemas/services/validate", Some("multipart/form-data; boundary=x"), part, 200, yes());
}

#[test]
fn what_cannot_be_read_is_refused() {
    let json = Some("application/json");
    for body in ["{", "[]", "1", "\"host\""] {
        check("/services", json, body, 400, json!({"message": "Cannot parse JSON body"}));
    }
    check("/services", Some("text/plain"), "host=x", 415, json!({"message": "Unsupported media type"}));
    check("/services", Some("application/yaml"), "host: x", 415, json!({"message": "Unsupported media type"}));
    check("/services", None, "host=x", 415, json!({"message": "Unsupported media type"}));
}
