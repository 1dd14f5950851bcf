//! `portcullis new`: writes a commented configuration to start from, with secrets of its own.

use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::NewFlags;

const TEMPLATE: &str = include_str!("kong.template.yml");

/// 256 bits: HS256 asks for a key as long as its hash (RFC 7518, section 3.2).
const SECRET_SIZE_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error("{} exists already and is not overwritten; name another file: portcullis new FILE", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {source}", file.display())]
    Write { file: PathBuf, source: io::Error },
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("the operating system gave no random bytes for the secrets: {0}")]
    Random(String),
}

/// Writes the file and then, to `out`, what to try next; for the file `-`, the configuration to `out`.
///
/// `random` fills a buffer from the operating system, as `getrandom::fill` does.
pub fn run<E: fmt::Display>(
    flags: &NewFlags,
    random: impl FnMut(&mut [u8]) -> Result<(), E>,
    out: &mut impl Write,
) -> Result<(), NewError> {
    let text = configuration(random)?;
    if flags.file == Path::new("-") {
        return out.write_all(text.as_bytes()).map_err(NewError::Output);
    }
    create(&flags.file, &text)?;
    out.write_all(next_steps(&flags.file).as_bytes()).map_err(NewError::Output)
}

fn configuration<E: fmt::Display>(mut random: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<String, NewError> {
    let mut secret = || {
        let mut bytes = [0; SECRET_SIZE_BYTES];
        random(&mut bytes).map_err(|error| NewError::Random(error.to_string()))?;
        Ok(hex(&bytes))
    };
    Ok(TEMPLATE.replace("{{api_key}}", &secret()?).replace("{{jwt_secret}}", &secret()?))
}

/// Hexadecimal needs no quoting in YAML, a shell or a header.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes a file that was not there, for its owner only: it holds secrets.
fn create(path: &Path, text: &str) -> Result<(), NewError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |source| NewError::Write { file: path.to_owned(), source };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => NewError::Exists(path.to_owned()),
        _ => failed(error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half a file would stop the next attempt. It is ours: it was made above.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

fn next_steps(file: &Path) -> String {
    let file = file.display();
    format!(
        "\
Wrote {file}. It holds secrets: keep it out of version control.

Try it:
  portcullis check {file}
  python3 -m http.server 9000 --bind 127.0.0.1 &      # something to stand behind the gate
  portcullis start --config {file}

and then, with the key of alice from the file:
  curl -i http://127.0.0.1:8000/orders                        # 401
  curl -i -H 'apikey: KEY' http://127.0.0.1:8000/orders       # 200

The end of the file shows how to make a token for /reports.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> impl FnMut(&mut [u8]) -> Result<(), String> {
        let mut next = 0;
        move |bytes| {
            next += 1;
            bytes.fill(next);
            Ok(())
        }
    }

    fn check(file: &Path) -> Result<String, String> {
        let mut out = Vec::new();
        run(&NewFlags { file: file.to_owned() }, counting(), &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn secrets_are_filled_in_and_differ() {
        let text = check(Path::new("-")).expect("standard output takes everything");
        assert!(!text.contains("{{"), "{text}");
        assert!(text.contains(&format!("key: \"{}\"", "01".repeat(32))));
        assert!(text.contains(&format!("secret: \"{}\"", "02".repeat(32))));
        for choice in
            ["hide_credentials: true", "claims_to_verify: [exp]", "key_in_query: false", "uri_param_names: []"]
        {
            assert!(text.contains(choice), "{choice}");
        }
    }

    /// The file holds secrets: others on the machine must not read it, and a second call must not
    /// destroy the first one's keys.
    #[test]
    fn the_file_is_private_and_stays() {
        let path = std::env::temp_dir().join(format!("portcullis-new-{}.yml", std::process::id()));
        let _ = fs::remove_file(&path);
        let said = check(&path).expect("the file can be written");
        assert!(said.contains("portcullis start --config"), "{said}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).expect("the file is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&path, "mine").expect("the file can be changed");
        let refused = check(&path).expect_err("it exists");
        assert!(refused.contains("exists already"), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("the file is there"), "mine");
        fs::remove_file(&path).expect("the file is there");
    }

    #[test]
    fn without_random_bytes_nothing_is_written() {
        let path = std::env::temp_dir().join(format!("portcullis-new-none-{}.yml", std::process::id()));
        let refused = run(&NewFlags { file: path.clone() }, |_| Err("no entropy"), &mut Vec::new());
        assert!(refused.is_err());
        assert!(!path.exists());
    }
}
