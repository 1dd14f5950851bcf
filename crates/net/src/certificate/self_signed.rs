//! The certificate a gateway starts with when it was given none.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::CertificateError;

/// As long as Kong's default certificate: nobody is meant to trust it, so nobody should have to renew it.
const VALIDITY: Duration = Duration::from_secs(20 * 365 * 86_400);

/// Makes a self-signed certificate (ECDSA P-256, CN `localhost`, 20 years) for the given DNS names and
/// addresses. Returns certificate and private key as PEM; the key must not be logged.
pub fn self_signed(names: &[&str]) -> Result<(String, String), CertificateError> {
    let mut params = CertificateParams::default();
    for name in names {
        let one = CertificateParams::new(vec![(*name).to_owned()])
            .map_err(|_| CertificateError::Name { name: (*name).to_owned() })?;
        params.subject_alt_names.extend(one.subject_alt_names);
    }
    let now = SystemTime::now();
    // An hour back: the clocks of callers are not all right.
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let failed = |error: rcgen::Error| CertificateError::Making { reason: error.to_string() };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let cert = params.self_signed(&key).map_err(failed)?;
    Ok((cert.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::super::{facts, parse};
    use super::*;

    #[test]
    fn is_usable_for_twenty_years() {
        let (cert, key) = self_signed(&["localhost", "127.0.0.1"]).unwrap();
        let certified = parse(&cert, &key).unwrap();
        let facts = facts(&certified.cert[0]).unwrap();
        assert_eq!(facts.subject, "CN=localhost");
        assert_eq!(facts.names, ["localhost", "127.0.0.1"]);
        assert!(!facts.is_ca);
        assert_eq!((facts.not_after - facts.not_before) / 86_400, 20 * 365);
    }

    #[test]
    fn refuses_a_name_that_no_certificate_can_hold() {
        assert_eq!(self_signed(&["ü.test"]), Err(CertificateError::Name { name: "ü.test".to_owned() }));
    }
}
