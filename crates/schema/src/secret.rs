//! Text that must never be seen.

use crate::{Kind, Typed};
use serde::Deserialize;
use std::fmt;

/// A secret: reads like a string, shows itself to nobody.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the one place that has to compare or use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl Typed for Secret {
    fn kind() -> Kind {
        Kind::Text
    }
}
