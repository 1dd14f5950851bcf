//! The directory that a gate keeps things in between starts: for its owner only.

use crate::settings::ADMIN_TOKEN_FILE;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The data directory.
#[derive(Clone)]
pub struct DataDir(PathBuf);

/// A file of the data directory cannot be read or written.
#[derive(Debug, Error)]
#[error("{}: {source}; give the gate a directory of its own with the setting `data`", path.display())]
pub struct DataError {
    path: PathBuf,
    source: io::Error,
}

impl DataDir {
    /// The directory, made if it is not there.
    pub fn open(path: &Path) -> Result<DataDir, DataError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| DataError { path: path.to_owned(), source })?;
        Ok(DataDir(path.to_owned()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of a file, or that of `make`, which is then kept for the next start.
    pub fn read_or_make<E>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, E>,
    ) -> Result<(String, bool), String>
    where
        E: std::fmt::Display,
    {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok((text, false)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = make().map_err(|error| error.to_string())?;
                self.write(name, &text).map_err(|error| error.to_string())?;
                Ok((text, true))
            }
            Err(source) => Err(DataError { path: self.path(name), source }.to_string()),
        }
    }

    /// Writes a file that only its owner can read. Whoever reads it sees the old text or the new, never half.
    pub fn write(&self, name: &str, text: &str) -> Result<(), DataError> {
        let path = self.path(name);
        let fresh = self.path(&format!("{name}.new"));
        let write = || {
            let _ = fs::remove_file(&fresh);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|source| DataError { path: path.clone(), source })
    }

    /// The token of the Admin API, made at the first start; and whether this is that.
    pub fn admin_token(&self) -> Result<(String, bool), String> {
        let (token, is_new) = self.read_or_make(ADMIN_TOKEN_FILE, model::id::random_key)?;
        Ok((token.trim().to_owned(), is_new))
    }

    /// The certificate and key for server names that no certificate covers, made at the first start. The
    /// second value says whether they are self-signed.
    pub fn default_certificate(&self) -> Result<(String, String), String> {
        let mut key = None;
        let (certificate, made) = self.read_or_make("default_certificate.pem", || {
            let (certificate, made_key) = net::certificate::self_signed(&["localhost"])?;
            key = Some(made_key);
            Ok::<_, net::certificate::CertificateError>(certificate)
        })?;
        let key = match (made, key) {
            (true, Some(key)) => {
                self.write("default_certificate.key", &key).map_err(|error| error.to_string())?;
                key
            }
            _ => fs::read_to_string(self.path("default_certificate.key"))
                .map_err(|source| DataError { path: self.path("default_certificate.key"), source }.to_string())?,
        };
        Ok((certificate, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_made_once_is_kept_and_for_its_owner_only() {
        let path = std::env::temp_dir().join(format!("portcullis-data-{}", std::process::id()));
        let data = DataDir::open(&path).expect("a temporary directory can be made");
        let (first, is_new) = data.admin_token().expect("a token can be made");
        assert!(is_new);
        assert_eq!(data.admin_token(), Ok((first, false)));
        let mode =
            |name: &str| fs::metadata(data.path(name)).expect("it was just written").permissions().mode() & 0o777;
        assert_eq!((mode(ADMIN_TOKEN_FILE), mode("")), (0o600, 0o700));
        fs::remove_dir_all(&path).expect("it is ours");
    }
}
