//! The text of `docs/settings.md`, made from the table of settings, and the test that keeps the file so.

use std::fmt::Write;

use super::definition::{Origin, Setting};
use super::manual::sections;
use super::table::TABLE;
use crate::cli::StartFlags;

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in sections() {
        let _ = writeln!(text, "\n## {section}");
        for setting in TABLE.iter().filter(|setting| setting.section == section) {
            let _ = writeln!(text, "\n### `{}`\n", setting.name);
            for paragraph in setting.paragraphs() {
                let _ = writeln!(text, "{paragraph}\n");
            }
            text.push_str(&facts(setting));
        }
    }
    text
}

fn facts(setting: &Setting) -> String {
    let code = |text: &str| format!("`{text}`");
    let default = if setting.default.is_empty() { "none".to_owned() } else { code(setting.default) };
    let variables: Vec<_> = ["PORTCULLIS_", "KONG_"]
        .iter()
        .flat_map(|prefix| setting.names().map(move |name| format!("`{prefix}{}`", name.to_uppercase())))
        .collect();
    let in_kong = match setting.origin {
        Origin::Kong => "the same name".to_owned(),
        Origin::KongAs(names) => names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", "),
        Origin::Ours => "no such setting".to_owned(),
    };
    let flag = StartFlags::default()
        .shortcuts()
        .into_iter()
        .find(|(_, key, _)| *key == setting.name)
        .map(|(flag, _, _)| format!("- Flag: `{flag}`\n"))
        .unwrap_or_default();
    format!("- Default: {default}\n{flag}- Variables: {}\n- In Kong: {in_kong}\n", variables.join(", "))
}

const INTRODUCTION: &str = r#"# Settings

<!-- Made from crates/portcullis/src/settings/table.rs by a test; UPDATE_DOCS=1 rewrites it. -->

Settings say how the gate runs. What it does with requests (services, routes, consumers, plugins) is
the configuration, and stands in the file that `declarative_config` names.

A setting can stand in five places. The first of them that names it decides:

1. a flag of `portcullis start`: one of its own, or `--set KEY=VALUE` for any setting
2. a variable `PORTCULLIS_<NAME>`
3. a variable `KONG_<NAME>`, so that an environment made for Kong keeps working
4. the settings file
5. the default

The settings file is TOML. It is the one that `--settings` or `PORTCULLIS_SETTINGS` names, else
`portcullis.toml` in the working directory if it is there:

```toml
declarative_config = "kong.yml"
proxy_listen = ["0.0.0.0:8000", "0.0.0.0:8443 http2 ssl"]
log_level = "info"
workers = 4
real_ip_recursive = true
```

Names are Kong's where Kong has the setting. Lists may be written as `"a, b"` or as `["a", "b"]`,
switches as `"on"` and `"off"` or as `true` and `false`.

A name that is not known is a mistake in the file, in a flag and in a variable `PORTCULLIS_*`: the
gate does not start, and says which name was probably meant. A variable `KONG_*` that is not listed
here has no effect; the gate names all of these in one warning. All mistakes are reported at once,
each with its place.
"#;

#[test]
fn the_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    let text = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &text).expect("docs/settings.md can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "docs/settings.md is not what the table says: run this test with UPDATE_DOCS=1");
}
