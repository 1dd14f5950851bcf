//! Lower-casing of host names, server names and header values without an allocation.

/// Host names end at 253 bytes; header values worth routing by are shorter still.
const ON_STACK: usize = 256;

/// Room for one lower-cased name.
pub(crate) struct Fold {
    buffer: [u8; ON_STACK],
    spill: Vec<u8>,
}

impl Fold {
    pub(crate) fn new() -> Self {
        Self { buffer: [0; ON_STACK], spill: Vec::new() }
    }

    /// The same bytes with ASCII letters in lower case; untouched if they are so already.
    pub(crate) fn lower<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !bytes.iter().any(u8::is_ascii_uppercase) {
            return bytes;
        }
        let copy = match self.buffer.get_mut(..bytes.len()) {
            Some(copy) => {
                copy.copy_from_slice(bytes);
                copy
            }
            None => {
                self.spill.clear();
                self.spill.extend_from_slice(bytes);
                self.spill.as_mut_slice()
            }
        };
        copy.make_ascii_lowercase();
        copy
    }

    /// The same for a DNS name, whose final dot says nothing.
    pub(crate) fn name<'a>(&'a mut self, name: &'a str) -> &'a [u8] {
        self.lower(without_final_dot(name).as_bytes())
    }
}

/// A DNS name without the dot of the root.
pub(crate) fn without_final_dot(name: &str) -> &str {
    match name.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        assert_eq!(Fold::new().name(name), expected.as_bytes());
    }

    #[test]
    fn names_are_folded() {
        check("Api.Example.COM.", "api.example.com");
        check("api.example.com", "api.example.com");
        check(".", ".");
        check("", "");
        check(&"Ab".repeat(300), &"ab".repeat(300));
    }
}
