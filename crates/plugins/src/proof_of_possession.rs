//! Tokens that are bound to a key: whoever shows one must prove that the key is theirs.

use crate::claims;
use jose::Object;
use proxy::Exchange;
use proxy::authenticate::Refusal;
use proxy::plugin::WantedCertificate;
use schema::{Schema, Value};
use serde::Deserialize;

/// Whether callers prove by their TLS certificate that a token is theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum ProofOfPossession {
    /// Nobody is asked for a certificate: a token that is bound to a key is no good.
    #[default]
    Off,
    /// A token that is bound to a certificate is good with that one, and one that is bound to nothing without.
    Optional,
    /// A token must be bound to a certificate.
    Strict,
}

/// What a token is bound to (RFC 7800, `cnf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    Nothing,
    /// The certificate with this SHA-256 (RFC 8705 section 3.1), in base64url.
    Certificate([u8; 32]),
    /// What cannot be proven here, such as the key of a DPoP proof; or more than one thing.
    Other,
}

impl Binding {
    pub fn of(claims: &Object) -> Binding {
        let confirmation = match claims.get("cnf") {
            None | Some(Value::Null) => return Binding::Nothing,
            Some(Value::Object(members)) if members.len() == 1 => members.get("x5t#S256"),
            Some(_) => None,
        };
        let digest = confirmation.and_then(Value::as_str).and_then(|text| jose::base64url::decode(text).ok());
        digest.and_then(|bytes| bytes.try_into().ok()).map_or(Binding::Other, Binding::Certificate)
    }
}

impl ProofOfPossession {
    /// Callers are asked for a certificate where one may be needed; whoever issued it, the proof is that they own its key.
    pub fn wants_certificate(self) -> Option<WantedCertificate> {
        (self != ProofOfPossession::Off).then(WantedCertificate::default)
    }

    /// Holds a token against the caller's certificate. `invalid` is the answer for a token that is no good.
    pub fn check(
        self,
        binding: Binding,
        exchange: &Exchange,
        invalid: impl Fn(&str) -> Refusal,
    ) -> Result<(), Refusal> {
        let shown = || exchange.caller.certificate.as_ref().and_then(|shown| shown.digest());
        match (binding, self) {
            (Binding::Nothing, ProofOfPossession::Strict) => Err(invalid("The token is bound to no certificate")),
            (Binding::Nothing, _) => Ok(()),
            (Binding::Certificate(digest), ProofOfPossession::Optional | ProofOfPossession::Strict)
                if shown() == Some(digest) =>
            {
                Ok(())
            }
            _ => Err(invalid(claims::BOUND)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::json;

    #[test]
    fn a_binding_is_one_that_can_be_proven_or_none() {
        let digest = jose::base64url::encode([7; 32]);
        for (confirmation, expected) in [
            (json!(null), Binding::Nothing),
            (json!({ "x5t#S256": digest }), Binding::Certificate([7; 32])),
            (json!({ "x5t#S256": digest, "jkt": "x" }), Binding::Other),
            (json!({ "x5t#S256": &digest[1..] }), Binding::Other),
            (json!({ "x5t#S256": 7 }), Binding::Other),
            (json!({ "jkt": "x" }), Binding::Other),
            (json!({}), Binding::Other),
            (json!("x"), Binding::Other),
        ] {
            let claims = json!({ "cnf": confirmation });
            assert_eq!(Binding::of(claims.as_object().unwrap()), expected, "{claims}");
        }
        assert_eq!(Binding::of(json!({}).as_object().unwrap()), Binding::Nothing);
    }
}
