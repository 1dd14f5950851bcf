//! ldap-auth and ldap-auth-advanced, with a real slapd: what names and passwords may hold, and who is in which group.

use tests::{Answer, Authority, DEADLINE, Directory, Gate, Origin, base64, eventually, http};

/// Users with every habit. `al*ce`, `a(l)i\ce` and `smith, "j+r` are names as odd as names get.
const ENTRIES: &str = r#"dn: ou=people,dc=example,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=test
objectClass: organizationalUnit
ou: groups

dn: uid=alice,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: alice
cn: Alice (Ops) *
sn: A
userPassword: s3cret
memberOf: cn=ops,ou=groups,dc=example,dc=test
memberOf: cn=staff,ou=groups,dc=example,dc=test

dn: uid=al*ce,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: al*ce
cn: Star
sn: S
userPassword: star*()\,+"

dn: uid=smith\2C \22j\2Br,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: smith, "j+r
cn: Smith
sn: S
userPassword: comma
memberOf: cn=ops,ou=groups,dc=example,dc=test

dn: uid=a(l)i\5Cce,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: a(l)i\ce
cn: Paren
sn: P
userPassword: paren

dn: cn=Impostor,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: uid=alice,ou=people,dc=example,dc=test
cn: Impostor
sn: I
userPassword: impostor

dn: cn=ops,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: ops
member: uid=alice,ou=people,dc=example,dc=test
member: uid=smith\2C \22j\2Br,ou=people,dc=example,dc=test

dn: cn=staff,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: staff
member: uid=alice,ou=people,dc=example,dc=test

dn: cn=unix,ou=groups,dc=example,dc=test
objectClass: posixGroup
cn: unix
gidNumber: 7
memberUid: alice
memberUid: al*ce
"#;

fn directory() -> (Directory, Authority) {
    let authority = Authority::new("directory");
    let certificate = authority.server(&["127.0.0.1", "ldap.test"]);
    (Directory::start(ENTRIES, &certificate), authority)
}

fn gate(origin: &Origin, authority: &Authority, plugin: &str, config: &str) -> Gate {
    Gate::with(format!(
        "_format_version: \"3.0\"
services:
- name: shop
  url: {}
  routes: [{{name: shop, paths: [/]}}]
consumers: [{{username: alice}}, {{username: guest}}]
plugins:
- name: {plugin}
  config: {{ldap_host: 127.0.0.1, base_dn: 'ou=people,dc=example,dc=test', attribute: uid, timeout: 5000{config}}}",
        origin.url()
    ))
    .env("PORTCULLIS_LUA_SSL_TRUSTED_CERTIFICATE", authority.certificate().cert.to_str().unwrap())
    .env("SEARCHER", "sought-and-found")
    .start()
}

fn ask(gate: &Gate, user: &str, password: &str) -> Answer {
    let value = format!("LDAP {}", base64(format!("{user}:{password}").as_bytes()));
    http(gate.proxy(), "GET", "/", &[("Authorization", &value)], b"")
}

const SEARCH: &str =
    ", bind_dn: 'cn=admin,dc=example,dc=test', ldap_password: '{vault://env/searcher}', consumer_optional: true";

#[test]
fn a_password_proves_its_user() {
    let (origin, (directory, authority)) = (Origin::start(), directory());
    let plain = format!(", ldap_port: {}", directory.port());
    for (plugin, config) in [
        ("ldap-auth", plain.clone()),
        ("ldap-auth", format!(", ldap_port: {}, ldaps: true", directory.tls_port())),
        ("ldap-auth", format!("{plain}, start_tls: true")),
        ("ldap-auth-advanced", format!("{plain}, consumer_optional: true")),
        ("ldap-auth-advanced", format!("{plain}{SEARCH}")),
        ("ldap-auth-advanced", format!(", ldap_port: {}, ldaps: true{SEARCH}", directory.tls_port())),
    ] {
        let gate = gate(&origin, &authority, plugin, &format!("{config}, hide_credentials: true, realm: shop"));
        for (user, password) in
            [("alice", "s3cret"), ("al*ce", "star*()\\,+\""), ("smith, \"j+r", "comma"), ("a(l)i\\ce", "paren")]
        {
            let answer = ask(&gate, user, password);
            assert_eq!(answer.status, 200, "{plugin} {config} {user}: {}", gate.said());
            assert_eq!(origin.last().values("x-credential-identifier"), [user]);
            assert!(origin.last().values("authorization").is_empty());
        }
        // However it is spelled, it is one user.
        for user in ["ALICE", "alice ", " Alice"] {
            ask(&gate, user, "s3cret").expect_status(200);
            assert_eq!(origin.last().values("x-credential-identifier"), ["alice"], "{user:?}");
        }
        let refused = ask(&gate, "alice", "wrong").expect_status(401);
        assert_eq!(refused.header("www-authenticate"), Some("LDAP realm=\"shop\""));
        assert!(!gate.said().contains("s3cret") && !gate.said().contains("sought-and-found"), "{}", gate.said());
    }
}

/// The attacks: a name that is a pattern, a filter or another entry; a password that is none.
#[test]
fn no_name_means_somebody_else_and_no_empty_password_is_good() {
    let (origin, (directory, authority)) = (Origin::start(), directory());
    let plain = format!(", ldap_port: {}", directory.port());
    for (plugin, config) in [
        ("ldap-auth", plain.clone()),
        ("ldap-auth-advanced", format!("{plain}, consumer_optional: true")),
        ("ldap-auth-advanced", format!("{plain}{SEARCH}")),
    ] {
        let gate = gate(&origin, &authority, plugin, &config);
        let asked = directory.binds();
        for (user, password) in [("alice", ""), ("", "s3cret"), ("", "")] {
            assert_eq!(ask(&gate, user, password).status, 401, "{plugin} {user:?} {password:?}");
        }
        assert_eq!(directory.binds(), asked, "nobody is asked about an empty password");
        for user in [
            "*",
            "a*",
            "alic*",
            "alice)(uid=*",
            "*)(|(uid=*",
            "alice,ou=people,dc=example,dc=test",
            "alice+cn=Star",
            "alice\\2cou=people",
            "alice\0",
            "\0",
            "ALICE\0x",
            "#616c696365",
            " alice ,",
            "cn=admin,dc=example,dc=test",
        ] {
            for password in ["s3cret", "star*()\\,+\"", "*", "\0", "s3cret\0"] {
                let answer = ask(&gate, user, password);
                assert_eq!(answer.status, 401, "{plugin} {user:?} {password:?}: {}", answer.text());
            }
        }
        // After all that it still answers.
        ask(&gate, "alice", "s3cret").expect_status(200);
    }
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn groups_are_found_and_can_be_demanded() {
    let (origin, (directory, authority)) = (Origin::start(), directory());
    let base = format!(
        ", ldap_port: {}{SEARCH}, group_base_dn: 'ou=groups,dc=example,dc=test', group_name_attribute: cn",
        directory.port()
    );
    for (config, alice, star, smith) in [
        (", groups_required: [ops]", 200, 403, 200),
        (", groups_required: ['ops staff']", 200, 403, 403),
        (", groups_required: [staff, ops]", 200, 403, 200),
        (", group_member_attribute: member, groups_required: [ops]", 200, 403, 200),
        (", group_member_attribute: memberUid, groups_required: [unix]", 200, 200, 403),
        (", groups_required: [OPS, 'o*']", 403, 403, 403),
    ] {
        let gate = gate(&origin, &authority, "ldap-auth-advanced", &format!("{base}{config}"));
        let found = [("alice", "s3cret"), ("al*ce", "star*()\\,+\""), ("smith, \"j+r", "comma")]
            .map(|(user, password)| ask(&gate, user, password).status);
        assert_eq!(found, [alice, star, smith], "{config}: {}", gate.said());
        // The attack: a user whose name is that of another one's entry.
        ask(&gate, "uid=alice,ou=people,dc=example,dc=test", "impostor").expect_status(403);
    }
    let with_acl = format!("{base}}}\n- name: acl\n  config: {{always_use_authenticated_groups: true, allow: [staff]");
    let gate = gate(&origin, &authority, "ldap-auth-advanced", &with_acl);
    ask(&gate, "alice", "s3cret").expect_status(200);
    assert_eq!(origin.last().values("x-authenticated-groups"), ["ops, staff"]);
    ask(&gate, "smith, \"j+r", "comma").expect_status(403);
}

#[test]
fn users_can_be_consumers() {
    let (origin, (directory, authority)) = (Origin::start(), directory());
    let config = format!(", ldap_port: {}", directory.port());
    let strict = gate(&origin, &authority, "ldap-auth-advanced", &config);
    ask(&strict, "alice", "s3cret").expect_status(200);
    assert_eq!(origin.last().values("x-consumer-username"), ["alice"]);
    ask(&strict, "al*ce", "star*()\\,+\"").expect_status(403);
    let open = gate(&origin, &authority, "ldap-auth", &format!("{config}, anonymous: guest, header_type: basic"));
    let basic = format!("Basic {}", base64(b"alice:s3cret"));
    http(open.proxy(), "GET", "/", &[("Authorization", &basic)], b"").expect_status(200);
    assert_eq!(origin.last().values("x-credential-identifier"), ["alice"]);
    ask(&open, "alice", "s3cret").expect_status(200);
    assert_eq!(origin.last().values("x-consumer-username"), ["guest"]);
}

#[test]
fn a_directory_that_is_not_who_it_should_be_gets_no_password() {
    let (origin, (directory, _)) = (Origin::start(), directory());
    let stranger = Authority::new("stranger");
    for (plugin, tls) in [
        ("ldap-auth", format!(", ldap_port: {}, ldaps: true", directory.tls_port())),
        ("ldap-auth", format!(", ldap_port: {}, start_tls: true", directory.port())),
        ("ldap-auth-advanced", format!(", ldap_port: {}, ldaps: true{SEARCH}", directory.tls_port())),
        // It speaks no TLS there.
        ("ldap-auth", format!(", ldap_port: {}, ldaps: true", directory.port())),
    ] {
        let gate = gate(&origin, &stranger, plugin, &tls);
        let refused = ask(&gate, "alice", "s3cret").expect_status(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
        gate.wait_until_said("check ldap_host, ldap_port, ldaps and start_tls");
    }
    assert_eq!(directory.binds(), 0);
    let careless = format!(", ldap_port: {}, ldaps: true, tls_verify: false", directory.tls_port());
    ask(&gate(&origin, &stranger, "ldap-auth", &careless), "alice", "s3cret").expect_status(200);
}

#[test]
fn what_was_found_holds_for_a_time_and_trouble_is_no_refusal() {
    let (origin, (mut directory, authority)) = (Origin::start(), directory());
    let config = format!(", ldap_port: {}, cache_ttl: 300", directory.port());
    let gate = gate(&origin, &authority, "ldap-auth", &config);
    for _ in 0..5 {
        ask(&gate, "alice", "s3cret").expect_status(200);
        ask(&gate, "alice", "wrong").expect_status(401);
    }
    assert_eq!(directory.binds(), 2);
    directory.stop();
    ask(&gate, "alice", "s3cret").expect_status(200);
    ask(&gate, "al*ce", "star*()\\,+\"").expect_status(503);
    directory.start_again();
    eventually(DEADLINE, || match ask(&gate, "al*ce", "star*()\\,+\"").status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
}
