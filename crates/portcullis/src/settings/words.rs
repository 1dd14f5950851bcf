//! Settings whose value is one word of a fixed list.

use std::fmt;

/// Makes an enum of the words that a setting accepts, in any case, with its reader and Display.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$note])* $variant,)+
        }

        impl $name {
            pub(super) fn of(text: &str) -> Result<Self, String> {
                $(if text.eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                })+
                Err(not_among(text, &[$($word),+]))
            }

            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// How much the gate tells of itself; each level includes those after it.
    LogLevel {
        Debug = "debug",
        Info = "info",
        Notice = "notice",
        Warn = "warn",
        Error = "error",
        Crit = "crit",
    }
}

words! {
    /// The form of a line of the access log.
    AccessLogFormat {
        Json = "json",
        Common = "common",
    }
}

words! {
    /// The media type of error answers to requests without an Accept header.
    ErrorType {
        Text = "text/plain",
        Html = "text/html",
        Json = "application/json",
        Xml = "application/xml",
    }
}

/// Where the configuration is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// In memory, read from the declarative configuration.
    Off,
    /// In a file of the data directory.
    Sqlite,
    /// In a PostgreSQL that many gates share.
    Postgres,
}

impl Database {
    pub(super) fn optional(text: &str) -> Result<Option<Self>, String> {
        match text {
            "" => Ok(None),
            "off" => Ok(Some(Self::Off)),
            "sqlite" => Ok(Some(Self::Sqlite)),
            "postgres" => Ok(Some(Self::Postgres)),
            _ => Err(not_among(text, &["off", "sqlite", "postgres"])),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Sqlite => f.write_str("sqlite"),
            Self::Postgres => f.write_str("postgres"),
        }
    }
}

/// How routes are matched; there is one router, the name tells what the operator came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterFlavor {
    TraditionalCompatible,
    /// Kong's older router, whose `path_handling: v1` is not carried.
    Traditional,
}

impl RouterFlavor {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        match text {
            "traditional_compatible" => Ok(Self::TraditionalCompatible),
            "traditional" => Ok(Self::Traditional),
            "expressions" => Err("routes written as expressions are not read; write traditional_compatible \
                                  and give the routes paths, hosts, methods and headers"
                .to_owned()),
            _ => Err(not_among(text, &["traditional_compatible", "traditional"])),
        }
    }
}

/// Why a word is not accepted.
pub fn not_among(text: &str, words: &[&str]) -> String {
    match words {
        [only] => format!("{text:?} is not accepted; write {only}"),
        _ => format!("{text:?} is not one of {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: fmt::Debug>(read: fn(&str) -> Result<T, String>, text: &str, expected: &str) {
        let found = match read(text) {
            Ok(value) => format!("{value:?}"),
            Err(reason) => reason,
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }

    #[test]
    fn words_in_any_case() {
        check(LogLevel::of, "crit", "Crit");
        check(LogLevel::of, "WARN", "Warn");
        check(LogLevel::of, "verbose", "\"verbose\" is not one of debug, info, notice, warn, error, crit");
        check(ErrorType::of, "application/json", "Json");
        check(Database::optional, "off", "Some(Off)");
        check(Database::optional, "cassandra", "\"cassandra\" is not one of off, sqlite, postgres");
        check(RouterFlavor::of, "traditional", "Traditional");
        check(RouterFlavor::of, "expressions", "routes written as expressions");
    }
}
