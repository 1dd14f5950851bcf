//! The members of a JSON object, each as it was written, in the order in which it was written.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// An object of which a member can be taken out without a change to the others: a service that verifies a
/// signature over its numbers would notice `1.10` become `1.1`.
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Every value of a member that is a text. JSON lets a name stand twice, and readers differ in which
    /// value they take.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let values = self.0.iter().filter(move |(key, _)| key == name);
        values.filter_map(|(_, value)| serde_json::from_str(value.get()).ok())
    }

    /// The object without a member; `None` where it has no such member.
    pub fn without(&self, name: &str) -> Option<String> {
        if !self.0.iter().any(|(key, _)| key == name) {
            return None;
        }
        let kept = self.0.iter().filter(|(key, _)| key != name);
        let kept: Vec<String> =
            kept.map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str()))).collect();
        Some(format!("{{{}}}", kept.join(",")))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_stays_as_it_was() {
        let members: Members =
            serde_json::from_str(r#"{"z": 12345678901234567890123, "k": "a", "a": 1.10, "k": "b"}"#).unwrap();
        assert_eq!(members.texts("k").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(members.without("k").unwrap(), r#"{"z":12345678901234567890123,"a":1.10}"#);
        assert_eq!(members.without("x"), None);
        assert!(serde_json::from_str::<Members>("[1]").is_err());
    }
}
