//! Directions and doors: which crate may see which.

use crate::house::{name, none, packages, used};
use serde_json::Value;

/// From the ground up. A crate may use crates of lower floors only, never of its own.
const FLOORS: &[&[&str]] = &[
    // Under the ground floor: only `schema` stands on it.
    &["schema-derive"],
    &["schema", "jose", "router", "http1"],
    &["model", "net"],
    &["proxy", "store"],
    &["plugins", "admin"],
    &["portcullis"],
];

/// These look at the house from the street: they use none of its crates, and none uses them.
const OUTSIDE: &[&str] = &["tests", "xtask"];

/// Foreign libraries that only these crates use, so that one place knows how we use them.
const DOORS: &[(&str, &[&str])] = &[
    ("hyper", &["net", "proxy"]),
    ("ldap3", &["net"]),
    ("redis", &["net"]),
    ("rusqlite", &["store"]),
    ("tokio-postgres", &["store"]),
    ("hyper-util", &["net", "proxy"]),
    ("rustls", &["net"]),
    ("tokio-rustls", &["net"]),
    ("argon2", &["jose"]),
    ("aws-lc-rs", &["jose"]),
    ("clap", &["portcullis"]),
    ("granit-parser", &["model"]),
];

#[test]
fn crates_only_look_down() {
    none(&looking_up(&packages()));
}

#[test]
fn foreign_libraries_come_in_by_their_doors() {
    none(&beside_the_doors(&packages()));
}

fn looking_up(packages: &[Value]) -> Vec<String> {
    let floor = |name: &str| FLOORS.iter().position(|names| names.contains(&name));
    let mut broken = Vec::new();
    for package in packages {
        let package_name = name(package);
        let outside = OUTSIDE.contains(&package_name);
        let own = floor(package_name);
        if own.is_none() && !outside {
            broken.push(format!("{package_name} has no floor in {}", file!()));
        }
        for used in used(package) {
            match (own, floor(used)) {
                (Some(own), Some(below)) if below >= own => broken.push(format!("{package_name} looks up to {used}")),
                (None, Some(_)) if outside => broken.push(format!("{package_name} is outside and uses {used}")),
                _ if OUTSIDE.contains(&used) => broken.push(format!("{package_name} uses {used}, which is outside")),
                _ => {}
            }
        }
    }
    broken
}

fn beside_the_doors(packages: &[Value]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages {
        for used in used(package) {
            let door = DOORS.iter().find(|(library, _)| *library == used);
            if let Some((library, doors)) = door.filter(|(_, doors)| !doors.contains(&name(package))) {
                broken.push(format!("{} uses {library}, whose door is {}", name(package), doors.join(" and ")));
            }
        }
    }
    broken
}

#[test]
fn the_rules_see_what_breaks_them() {
    let package = |name: &str, used: &[&str]| {
        let used: Vec<Value> = used.iter().map(|used| serde_json::json!({"name": used})).collect();
        serde_json::json!({"name": name, "dependencies": used})
    };
    let house = [
        package("schema", &["schema-derive", "serde"]),
        package("net", &["model", "hyper"]),
        package("jose", &["proxy", "aws-lc-rs"]),
        package("new", &[]),
        package("tests", &["proxy", "serde_json"]),
        package("admin", &["tests", "rustls"]),
    ];
    let broken = looking_up(&house);
    let begins =
        ["net looks up to model", "jose looks up to proxy", "new has no floor", "tests is outside", "admin uses tests"];
    assert_eq!(broken.len(), begins.len(), "{broken:?}");
    assert!(broken.iter().zip(begins).all(|(broken, begin)| broken.starts_with(begin)), "{broken:?}");
    assert_eq!(beside_the_doors(&house), ["admin uses rustls, whose door is net"]);
}
