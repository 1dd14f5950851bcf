//! Strict JSON: no duplicate member names, bounded depth, nothing after the value.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON object: a JOSE header or a claims set.
pub type Object = serde_json::Map<String, Value>;

/// How deep arrays and objects may nest, the outermost one counted.
pub const MAX_DEPTH: usize = 16;

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not one JSON text in UTF-8, or a number in it does not fit.
    #[error("not valid JSON")]
    Syntax,
    /// A member name occurs twice in one object. Parsers disagree about which one counts, so a
    /// token could mean one thing here and another behind the gateway (RFC 7515 section 4, RFC
    /// 7519 section 4).
    #[error("a member name occurs twice in one JSON object")]
    Duplicate,
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("the JSON text nests deeper than {MAX_DEPTH} levels")]
    Depth,
    /// It is valid JSON, but not an object.
    #[error("the JSON text is not an object")]
    NotAnObject,
}

/// Reads one JSON text of any type.
pub fn value(text: &[u8]) -> Result<Value, JsonError> {
    let fault = Cell::new(JsonError::Syntax);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let strict = Strict { depth: 1, fault: &fault };
    let value = strict.deserialize(&mut reader).map_err(|_| fault.get())?;
    reader.end().map_err(|_| JsonError::Syntax)?;
    Ok(value)
}

/// Reads one JSON text that must be an object.
pub fn object(text: &[u8]) -> Result<Object, JsonError> {
    match value(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Reads one value at `depth`. serde's errors are only text, so the reason goes through `fault`.
struct Strict<'f> {
    depth: usize,
    fault: &'f Cell<JsonError>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, fault: JsonError) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }

    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(self.refuse(JsonError::Depth));
        }
        Ok(Strict { depth: self.depth + 1, fault: self.fault })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(self.inner()?)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        self.inner::<A::Error>()?;
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(JsonError::Duplicate));
            }
            let value = members.next_value_seed(self.inner()?)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<(), JsonError>) {
        assert_eq!(object(text.as_bytes()).map(|_| ()), expect, "{text:?}");
    }

    #[test]
    fn objects_are_read_as_serde_json_reads_them() {
        for text in [
            "{}",
            " { \"a\" : [1, -2, 2.5, 1e3, true, false, null, \"\\u00e9\"] } \r\n\t",
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}],"":0}"#,
        ] {
            let expect: Value = serde_json::from_str(text).unwrap_or_default();
            assert_eq!(value(text.as_bytes()), Ok(expect), "{text:?}");
        }
    }

    #[test]
    fn duplicate_names_are_refused_at_every_depth() {
        check(r#"{"alg":"HS256","alg":"none"}"#, Err(JsonError::Duplicate));
        check(r#"{"alg":1,"\u0061lg":1}"#, Err(JsonError::Duplicate));
        check(r#"{"a":{"b":1,"b":1}}"#, Err(JsonError::Duplicate));
        check(r#"{"a":[{"b":1,"c":2,"b":1}]}"#, Err(JsonError::Duplicate));
        check(r#"{"a":1,"A":1}"#, Ok(()));
    }

    #[test]
    fn nesting_is_bounded() {
        let arrays = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        let objects = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        check(&arrays(15), Ok(()));
        check(&arrays(16), Err(JsonError::Depth));
        check(&objects(16), Ok(()));
        check(&objects(17), Err(JsonError::Depth));
        check(&"{\"a\":".repeat(5_000), Err(JsonError::Depth));
        check(&"[".repeat(100_000), Err(JsonError::Depth));
        check(&format!("{}{{}}{}", "{\"a\":".repeat(16), "}".repeat(16)), Err(JsonError::Depth));
    }

    #[test]
    fn only_one_object_and_nothing_else() {
        for text in ["[]", "null", "1", "\"{}\"", "true"] {
            check(text, Err(JsonError::NotAnObject));
        }
        for text in [
            "",
            " ",
            "{",
            "{}{}",
            "{} x",
            "{}\0",
            "\u{feff}{}",
            "{'a':1}",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":1e999}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\ud800\"}",
            "// c\n{}",
        ] {
            check(text, Err(JsonError::Syntax));
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(JsonError::Syntax));
    }
}
