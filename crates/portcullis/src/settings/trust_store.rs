//! Which authorities may vouch for services.

use std::path::PathBuf;

use super::value::list;

/// The authorities that certificates of services may come from (`lua_ssl_trusted_certificate`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustStore {
    /// Whether those of the operating system are trusted.
    pub system: bool,
    /// PEM files with further authorities.
    pub files: Vec<PathBuf>,
}

impl TrustStore {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        if text.contains("-----BEGIN") {
            return Err("this is the content of a PEM file; write it to a file and give its path".to_owned());
        }
        let mut store = Self::default();
        for entry in list(text)? {
            match entry {
                "system" => store.system = true,
                file => store.files.push(file.into()),
            }
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, system: bool, files: &[&str]) {
        let files = files.iter().map(PathBuf::from).collect();
        assert_eq!(TrustStore::of(text), Ok(TrustStore { system, files }), "{text}");
    }

    #[test]
    fn lists_of_authorities() {
        check("system", true, &[]);
        check("ca.pem, system", true, &["ca.pem"]);
        check("/a.pem,/b.pem", false, &["/a.pem", "/b.pem"]);
        // Empty would trust nobody, and every call to a service over TLS would fail.
        assert!(TrustStore::of(" , ").is_err());
        assert!(TrustStore::of("-----BEGIN CERTIFICATE-----").is_err());
    }
}
