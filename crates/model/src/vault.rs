//! Vaults: where `{vault://...}` references are looked up.

use crate::text;
use schema::{Map, Pattern, Schema, Set, Unresolved, Value};
use serde::Deserialize;
use std::collections::HashMap;
use uuid::Uuid;

/// A vault under a prefix of its own. The one kind of vault is `env`: the gate's environment.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct Vault {
    /// The vault's identity.
    #[schema(uuid, auto)]
    pub id: Uuid,
    /// What references start with: `{vault://PREFIX/name}`.
    #[schema(unique, unique_across_ws, pattern(&PREFIX), not_one_of(&["env"]))]
    pub prefix: String,
    /// The kind of vault.
    #[schema(format(installed))]
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The options of this kind of vault.
    #[schema(required(false))]
    pub config: Option<Map<String, Value>>,
    /// When it was created, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub created_at: Option<i64>,
    /// When it was last changed, in seconds since 1970.
    #[schema(auto, timestamp)]
    pub updated_at: Option<i64>,
    /// Words to group and filter by.
    #[schema(each(not_null, format(text::tag)))]
    pub tags: Option<Set<String>>,
}

/// The options of the `env` vault.
#[derive(Clone, Debug, Deserialize, Schema)]
pub struct EnvConfig {
    /// Put before the name of each variable.
    #[schema(pattern(&ENV_PREFIX))]
    pub prefix: Option<String>,
}

static PREFIX: Pattern = Pattern {
    keyword: "match",
    stated: r#""^[a-z][a-z%d-]-[a-z%d]+$""#,
    check: |text| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let ends = text.len() > 1 && !text.ends_with('-');
        if starts && ends && text.bytes().all(fits) { Ok(()) } else { Err(format!("invalid value: {text}")) }
    },
};

static ENV_PREFIX: Pattern = Pattern {
    keyword: "match",
    stated: r#""^[%a_-][%a%d_-]*$""#,
    check: |text| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let starts = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if starts && text.bytes().all(fits) { Ok(()) } else { Err(format!("invalid value: {text}")) }
    },
};

fn installed(name: &str) -> Result<(), String> {
    if name == "env" { Ok(()) } else { Err(format!("vault '{name}' is not installed")) }
}

/// Looks references up in a snapshot of the environment.
#[derive(Clone, Default)]
pub struct Vaults {
    environment: HashMap<String, String>,
    /// Vault prefix to the prefix of its variables.
    prefixes: HashMap<String, String>,
}

impl Vaults {
    pub fn new(environment: HashMap<String, String>) -> Vaults {
        Vaults { environment, prefixes: HashMap::new() }
    }

    pub(crate) fn add(&mut self, vault: &Vault) {
        let prefix = vault.config.as_ref().and_then(|config| config.get("prefix")).and_then(Value::as_str);
        self.prefixes.insert(vault.prefix.clone(), prefix.unwrap_or_default().to_owned());
    }

    /// `{vault://env/NAME}`, `{vault://env/NAME/json-key}`, `{vault://env/NAME?prefix=P}`.
    pub fn resolve(&self, reference: &str) -> Result<String, Unresolved> {
        let unresolved = |why: &str| Unresolved(format!("cannot resolve {reference}: {why}"));
        let inner = reference
            .strip_prefix("{vault://")
            .and_then(|rest| rest.strip_suffix('}'))
            .ok_or_else(|| unresolved("not of the form {vault://env/NAME}"))?;
        let (inner, query) = inner.split_once('?').unwrap_or((inner, ""));
        let (vault, name) = inner.split_once('/').ok_or_else(|| unresolved("it names no secret"))?;
        let (name, key) = name.split_once('/').map_or((name, None), |(name, key)| (name, Some(key)));
        let own = match vault {
            "env" => "",
            vault => self.prefixes.get(vault).ok_or_else(|| unresolved("there is no such vault"))?,
        };
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or(own);
        let variable = format!("{prefix}{name}").to_uppercase().replace('-', "_");
        let value = self
            .environment
            .get(&variable)
            .ok_or_else(|| unresolved(&format!("the environment variable {variable} is not set")))?;
        // An empty secret opens a door.
        if value.is_empty() {
            return Err(unresolved(&format!("the environment variable {variable} is empty")));
        }
        match key {
            None => Ok(value.clone()),
            Some(key) => serde_json::from_str::<Value>(value)
                .ok()
                .and_then(|value| value.get(key).and_then(Value::as_str).map(str::to_owned))
                .ok_or_else(|| unresolved(&format!("{variable} is not JSON with a text under \"{key}\""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reference: &str, expected: Result<&str, &str>) {
        let environment = [("API_KEY", "k1"), ("MY_DB", r#"{"user":"u"}"#)];
        let mut vaults = Vaults::new(environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        vaults.prefixes.insert("mine".to_owned(), "my_".to_owned());
        let resolved = vaults.resolve(reference);
        assert_eq!(resolved.as_deref().map_err(|error| error.0.as_str()), expected);
    }

    #[test]
    fn references_are_looked_up_and_never_guessed() {
        check("{vault://env/api-key}", Ok("k1"));
        check("{vault://mine/db/user}", Ok("u"));
        check("{vault://env/key?prefix=api_}", Ok("k1"));
        check(
            "{vault://aws/key?prefix=api_}",
            Err("cannot resolve {vault://aws/key?prefix=api_}: there is no such vault"),
        );
        check("{vault://env/x}", Err("cannot resolve {vault://env/x}: the environment variable X is not set"));
        check("{vault://aws/x}", Err("cannot resolve {vault://aws/x}: there is no such vault"));
        check("{vault://env}", Err("cannot resolve {vault://env}: it names no secret"));
        check(
            "{vault://mine/db/no}",
            Err("cannot resolve {vault://mine/db/no}: MY_DB is not JSON with a text under \"no\""),
        );
    }
}
