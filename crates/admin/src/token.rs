//! The token that every request must show.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::borrow::Cow;
use std::fmt;
use std::hint::black_box;

/// Where Kong's tools put it.
const HEADER: &str = "kong-admin-token";

/// The token of the Admin API; it shows itself to nobody.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// `None` for an empty text: an empty token would be matched by an empty header.
    pub fn new(text: &str) -> Option<Token> {
        (!text.is_empty()).then(|| Token(text.as_bytes().to_vec()))
    }

    /// Whether one of the headers that may carry the token does.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        Token::given(headers).any(|given| self.equals(&given))
    }

    /// What the headers that may carry a token carry.
    pub(crate) fn given(headers: &HeaderMap) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let own = headers.get_all(HEADER).iter().map(|value| Cow::Borrowed(value.as_bytes()));
        let authorization = headers.get_all(AUTHORIZATION).iter().map(|value| value.as_bytes());
        own.chain(
            authorization.filter_map(|value| bearer(value).map(Cow::Borrowed).or_else(|| basic(value).map(Cow::Owned))),
        )
    }

    /// Takes a time that depends on the length of what was given, and on nothing of the token.
    fn equals(&self, given: &[u8]) -> bool {
        let different = given
            .iter()
            .zip(self.0.iter().cycle())
            .fold(self.0.len() ^ given.len(), |different, (a, b)| black_box(different | usize::from(a ^ b)));
        different == 0
    }
}

/// The credentials of the scheme `Bearer`, whose name is written as one likes (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

/// The password of the scheme `Basic` (RFC 7617), whoever it is said to be of: tools that know no header of their own take
/// it in their URL, `http://any:TOKEN@localhost:8001`.
fn basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked("Basic ".len())?;
    let decoded = STANDARD.decode(rest.trim_ascii()).ok().filter(|_| scheme.eq_ignore_ascii_case(b"Basic "))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon + 1..).map(<[u8]>::to_vec)
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Token([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(name: &'static str, value: &'static str, expected: bool) {
        let token = Token::new("s3cret").expect("it is not empty");
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))]);
        assert_eq!(token.is_in(&headers), expected, "{name}: {value}");
    }

    #[test]
    fn the_token_is_taken_from_both_headers_and_only_whole() {
        check("kong-admin-token", "s3cret", true);
        check("authorization", "Bearer s3cret", true);
        check("authorization", "bEARER  s3cret ", true);
        check("authorization", "s3cret", false);
        // any:s3cret, s3cret:any, s3cret
        check("authorization", "Basic YW55OnMzY3JldA==", true);
        check("authorization", "Basic czNjcmV0OmFueQ==", false);
        check("authorization", "Basic czNjcmV0", false);
        check("authorization", "Basic s3cret", false);
        check("authorization", "Bearer", false);
        for wrong in ["", "s", "s3cre", "s3cret ", "s3crets3cret", "S3cret", "s3cres"] {
            check("kong-admin-token", wrong, false);
        }
    }

    #[test]
    fn an_empty_token_is_none_and_no_token_is_printed() {
        assert!(Token::new("").is_none());
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Some(Token([secret]))");
    }
}
