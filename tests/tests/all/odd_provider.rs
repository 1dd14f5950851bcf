//! Tokens of a second real identity provider, which does some things as nobody else does: the audience of its tokens is their
//! scope, their type is written `bearer`, and what it says of one has neither issuer nor subject.

use tests::{Answer, DEADLINE, Gate, Glewlwyd, Origin, eventually, http};

fn gate(service: &Origin, plugin: &str) -> Gate {
    Gate::start(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes:
  - {{name: shop, paths: [/]}}
plugins:
- {plugin}
consumers:
- {{username: svc, custom_id: svc}}",
        service.url()
    ))
}

fn ask(gate: &Gate, token: &str) -> Answer {
    http(gate.proxy(), "GET", "/", &[("Authorization", &format!("Bearer {token}"))], b"")
}

#[test]
fn its_tokens_are_verified_with_the_keys_that_it_publishes() {
    let (service, provider) = (Origin::start(), Glewlwyd::start());
    let with = |audience: &str, more: &str| {
        let issuer = format!("{{issuer: '{}', audiences: [{audience}], consumer_claim: client_id}}", provider.issuer());
        gate(&service, &format!("{{name: jwt, config: {{issuers: [{issuer}]{more}}}}}"))
    };
    let token = provider.token();
    let own = with("orders", ", scopes_required: [orders], claims_to_headers: {jti: X-Token}");
    // The second time the token is known already.
    for _ in 0..2 {
        ask(&own, &token).expect_status(200);
        let seen = service.last();
        assert_eq!(seen.values("x-consumer-username"), ["svc"]);
        assert_eq!(seen.values("x-token").len(), 1);
    }
    let refused = ask(&with("billing", ""), &token).expect_status(401);
    assert!(refused.text().contains("Invalid audience"), "{}", refused.text());
    ask(&with("orders", ", scopes_required: [billing]"), &token).expect_status(403);
    // Another one of its kind is another issuer, with other keys.
    ask(&own, &Glewlwyd::start().token()).expect_status(401);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged: String = signature.chars().rev().collect();
    ask(&own, &format!("{head}.{forged}")).expect_status(401);
}

#[test]
fn what_it_says_of_a_token_counts_until_it_is_revoked() {
    let (service, provider) = (Origin::start(), Glewlwyd::start());
    let config = format!(
        "{{introspection_url: '{}/introspect', authorization_value: '{}', ttl: 1, scopes_required: [orders]}}",
        provider.issuer(),
        provider.basic()
    );
    let gate = gate(&service, &format!("{{name: oauth2-introspection, config: {config}}}"));
    let token = provider.token();
    ask(&gate, &token).expect_status(200);
    let seen = service.last();
    assert_eq!(seen.values("x-credential-client-id"), ["svc"]);
    assert_eq!(seen.values("x-credential-scope"), ["orders"]);
    ask(&gate, "junk").expect_status(401);
    provider.revoke(&token);
    eventually(DEADLINE, || match ask(&gate, &token).status {
        401 => Ok(()),
        status => Err(status.to_string()),
    });
}
