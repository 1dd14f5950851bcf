//! The list of settings that `portcullis start --help` prints, made from their table.

use std::fmt::Write;

use super::table::TABLE;

/// The width that help texts are folded to, in characters.
const WIDTH: usize = 78;

/// Every setting with its default and summary, for `portcullis start --help`.
pub fn listing() -> String {
    let mut text = String::new();
    for section in sections() {
        let _ = writeln!(text, "\n{section}:");
        for setting in TABLE.iter().filter(|setting| setting.section == section) {
            let default = if setting.default.is_empty() { "(none)" } else { setting.default };
            let _ = writeln!(text, "  {} = {default}", setting.name);
            let summary = setting.paragraphs().into_iter().next().unwrap_or_default();
            fold(&summary, "      ", &mut text);
        }
    }
    text.trim_start_matches('\n').trim_end().to_owned()
}

/// The headings of the manual, in the order of the table.
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = TABLE.iter().map(|setting| setting.section).collect();
    sections.dedup();
    sections
}

fn fold(paragraph: &str, indent: &str, text: &mut String) {
    let mut line = indent.to_owned();
    for word in paragraph.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > indent.len() {
            let _ = writeln!(text, "{line}");
            line = indent.to_owned();
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_is_folded_and_whole() {
        let listing = listing();
        for setting in TABLE {
            assert!(listing.contains(&format!("  {} = ", setting.name)), "{}", setting.name);
        }
        let too_wide: Vec<_> = listing.lines().filter(|line| line.len() > WIDTH).collect();
        assert!(too_wide.is_empty(), "{too_wide:?}");
    }
}
