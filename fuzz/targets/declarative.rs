//! Declarative files: whatever they hold, they are read or refused, and what was read is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::declarative::{Context, read_text};
use model::vault::Vaults;
use schema::Catalog;
use std::collections::HashMap;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let context = || Context { catalog: &CATALOG, vaults: Vaults::new(HashMap::new()), now: 1_700_000_000 };
    let Ok(configuration) = read_text(text, context()) else { return };
    let again = read_text(text, context()).ok().map(|again| again.hash);
    assert_eq!(Some(&configuration.hash), again.as_ref());
});

static CATALOG: Catalog = Catalog { plugins: Vec::new() };
