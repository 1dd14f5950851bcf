//! JWS, JWT and JWK verification: strict, pure, and blind to what a token says of itself.
//!
//! The crate parses a token, holds it against a key that its caller chose, and returns what was
//! signed. It does no I/O, reads no clock (the time is an argument) and starts nothing.
//!
//! What it never does:
//!
//! * take the algorithm from the token: a [`VerifyingKey`] is made for one [`Algorithm`], and a
//!   header that names another is refused (RFC 8725 section 3.1);
//! * know `none`, in any letter case;
//! * look at a key, certificate or URL inside a header (`jwk`, `jku`, `x5u`, `x5c`);
//! * repair an encoding: padding, white space, a second alphabet, non-zero trailing bits and
//!   duplicate member names are errors;
//! * sign, encrypt or decrypt.
//!
//! ```
//! use jose::{Algorithm, Compact, Rules, VerifyingKey};
//!
//! // RFC 7515 appendix A.1
//! let secret = jose::base64url::decode(
//!     "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
//! )?;
//! let key = VerifyingKey::hmac(Algorithm::HS256, &secret)?;
//! let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
//!              .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
//!              .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
//!
//! let verified = Compact::parse_jwt(token)?.verify(&key)?;
//! let rules = Rules { issuer: Some("joe"), ..Rules::default() };
//! assert!(rules.check(verified.claims(), 1_300_819_379.0).is_ok());
//! assert!(rules.check(verified.claims(), 1_300_819_380.0).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod algorithm;
pub mod base64url;
pub mod claims;
pub mod digest;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod key;
pub mod password;
pub mod seal;

pub use algorithm::Algorithm;
pub use claims::{ClaimError, Leeway, Rules};
pub use json::Object;
pub use jwk::{Jwk, JwkError, JwkSet, JwkSetError};
pub use jws::{Compact, Jwt, ParseError, Verified, VerifyError};
pub use key::{KeyError, SignatureError, VerifyingKey};
