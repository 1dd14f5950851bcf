//! A text that must not reach a log: its Debug hides it and it has no Display.

use std::fmt;

/// A secret from the settings; [`Secret::expose`] is the one way to its text.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads any text; empty is none.
    pub(super) fn optional(text: &str) -> Result<Option<Self>, String> {
        Ok((!text.is_empty()).then(|| Self(text.to_owned())))
    }

    /// Reads the token of the Admin API, which travels in a header.
    ///
    /// Called for the default too, whose empty text means "not set": the emptiness that an operator
    /// wrote is refused where the places are read, since it is an unset variable more often than a
    /// wish.
    pub(super) fn token(text: &str) -> Result<Option<Self>, String> {
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Self::optional(text)
        } else {
            Err("a token is printable ASCII without spaces; write another one, or leave it out and the gate makes one"
                .to_owned())
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}
