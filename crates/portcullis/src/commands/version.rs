//! `portcullis version`: the version, and the configuration language it speaks.

use std::io::{self, Write};

/// Writes the text of `portcullis version`.
pub fn run(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "portcullis {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "speaks Kong 3.9 (declarative format 3.0)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_then_language() {
        let mut out = Vec::new();
        run(&mut out).expect("a vector takes everything");
        let text = String::from_utf8_lossy(&out);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.first().is_some_and(|line| line.starts_with("portcullis ")), "{text}");
        assert_eq!(lines.get(1), Some(&"speaks Kong 3.9 (declarative format 3.0)"));
    }
}
