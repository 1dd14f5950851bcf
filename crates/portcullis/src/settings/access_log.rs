//! Where the record of each request goes.

use std::path::PathBuf;

use super::value;

/// The target of the access log (`proxy_access_log`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    Stdout,
    /// Appended to; relative to the working directory.
    File(PathBuf),
}

impl AccessLog {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" | "/dev/stdout" => Ok(Self::Stdout),
            _ if text.contains(char::is_whitespace) => Err(format!(
                "{text:?} carries a format name; write the path alone and choose json or common with access_log_format"
            )),
            _ => value::path(text).map(Self::File),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<AccessLog>) {
        assert_eq!(AccessLog::of(text).ok(), expected, "{text}");
    }

    #[test]
    fn targets() {
        check("off", Some(AccessLog::Off));
        check("stdout", Some(AccessLog::Stdout));
        check("/dev/stdout", Some(AccessLog::Stdout));
        check("logs/access.log", Some(AccessLog::File("logs/access.log".into())));
        check("logs/access.log basic", None);
        check("", None);
    }
}
