//! Rust types that can stand in a record.

use crate::{Field, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A Rust type with a kind.
pub trait Typed {
    fn kind() -> Kind;

    /// Whether `null` is refused.
    const REQUIRED: bool = true;
}

/// A list without repeated members, in the order given. (Kong's sets keep their order too.)
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Set<T>(Vec<T>);

impl<T> std::ops::Deref for Set<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// A reference to another entity: `{"id": "..."}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reference {
    pub id: Uuid,
}

macro_rules! typed {
    ($($rust:ty => $kind:expr),* $(,)?) => {
        $(impl Typed for $rust { fn kind() -> Kind { $kind } })*
    };
}

typed! {
    bool => Kind::Boolean,
    u8 => Kind::Integer(0, u8::MAX as i64),
    u16 => Kind::Integer(0, u16::MAX as i64),
    u32 => Kind::Integer(0, u32::MAX as i64),
    u64 => Kind::Integer(0, i64::MAX),
    i64 => Kind::Integer(i64::MIN, i64::MAX),
    f64 => Kind::Number,
    String => Kind::Text,
    Uuid => Kind::Text,
    Reference => Kind::Foreign(""),
    serde_json::Map<String, serde_json::Value> => Kind::Abstract,
}

fn element<T: Typed>() -> Box<Field> {
    Box::new(Field::of::<T>("", ""))
}

impl<T: Typed> Typed for Vec<T> {
    fn kind() -> Kind {
        Kind::Array(element::<T>())
    }
}

impl<T: Typed> Typed for Set<T> {
    fn kind() -> Kind {
        Kind::Set(element::<T>())
    }
}

impl<T: Typed> Typed for BTreeMap<String, T> {
    fn kind() -> Kind {
        Kind::Map(element::<String>(), element::<T>())
    }
}

impl<T: Typed> Typed for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }

    const REQUIRED: bool = false;
}
