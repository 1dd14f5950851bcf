//! How many threads carry requests.

use std::num::NonZeroUsize;

/// How many threads carry requests (`workers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that the process may use.
    Auto,
    Fixed(NonZeroUsize),
}

impl Workers {
    /// More threads than this are a slip of the keyboard, not a machine.
    const MOST: usize = 1024;

    pub(super) fn of(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse::<NonZeroUsize>() {
            Ok(count) if count.get() <= Self::MOST => Ok(Self::Fixed(count)),
            _ => Err(format!("{text:?} is neither auto nor a number from 1 to {}", Self::MOST)),
        }
    }

    pub fn count(self) -> NonZeroUsize {
        match self {
            Self::Fixed(count) => count,
            Self::Auto => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Workers>) {
        assert_eq!(Workers::of(text).ok(), expected, "{text}");
    }

    #[test]
    fn numbers_of_threads() {
        check("auto", Some(Workers::Auto));
        check("4", NonZeroUsize::new(4).map(Workers::Fixed));
        check("1024", NonZeroUsize::new(1024).map(Workers::Fixed));
        check("1025", None);
        check("0", None);
        check("many", None);
    }
}
