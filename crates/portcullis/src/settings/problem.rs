//! What can be wrong or doubtful in settings, as the operator reads it.

use std::fmt;

/// One mistake: where it stands, what is wrong, what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// A flag, a variable, or `file:line key`.
    place: String,
    reason: String,
}

impl Fault {
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Every mistake of all places; its text has one line for each.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct SettingsErrors {
    faults: Vec<Fault>,
}

impl SettingsErrors {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self { faults }
    }

    fn text(&self) -> String {
        let mut text = match self.faults.len() {
            1 => "a setting is wrong:".to_owned(),
            count => format!("{count} settings are wrong:"),
        };
        for fault in &self.faults {
            text.push_str("\n  ");
            text.push_str(&fault.to_string());
        }
        text
    }
}

/// Something that works but should be known before callers find out; one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(String);

impl Warning {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
