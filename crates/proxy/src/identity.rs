//! Who the caller is, and the headers that say so; nobody but the gate may set them.

use crate::registry::Consumer;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use jose::{Jwt, Object};
use std::borrow::Cow;
use std::sync::Arc;
use uuid::Uuid;

/// What authentication proved.
#[derive(Clone)]
pub struct Identity {
    /// The consumer, where the credential belongs to one.
    pub consumer: Option<Arc<Consumer>>,
    /// `None` for the anonymous consumer.
    pub credential: Option<Credential>,
}

/// What a token told of its caller.
#[derive(Clone, Default)]
pub enum Claims {
    #[default]
    None,
    /// Those of a verified JWT, which are read when somebody asks for them.
    OfToken(Arc<str>),
    Told(Arc<Object>),
}

impl Claims {
    pub fn read(&self) -> Option<Cow<'_, Object>> {
        match self {
            Claims::None => None,
            Claims::Told(claims) => Some(Cow::Borrowed(claims)),
            Claims::OfToken(token) => Some(Cow::Owned(Jwt::parse_jwt(token).ok()?.unverified_claims().clone())),
        }
    }
}

/// The credential that a caller proved itself with.
#[derive(Clone)]
pub struct Credential {
    /// What services see in `X-Credential-Identifier`.
    pub identifier: HeaderValue,
    /// The entity, where there is one that can be taken away.
    pub id: Option<Uuid>,
}

impl Credential {
    /// One that somebody else keeps: an issuer of tokens, a directory.
    pub fn elsewhere(identifier: HeaderValue) -> Credential {
        Credential { identifier, id: None }
    }
}

pub const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
pub const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
pub const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
pub const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
pub const ANONYMOUS_CONSUMER: HeaderName = HeaderName::from_static("x-anonymous-consumer");
pub const CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
pub const AUTHENTICATED_GROUPS: HeaderName = HeaderName::from_static("x-authenticated-groups");

/// Every name with one of these beginnings is the gate's.
const RESERVED: [&str; 4] = ["x-consumer-", "x-credential-", "x-authenticated-", "x-anonymous-consumer"];

/// Removes what a caller may not say of itself.
///
/// The attack: a service that reads its headers through CGI, WSGI or the like sees `X_Consumer_ID`,
/// `X.Consumer.ID` and `X-Consumer-ID` as one variable. So every spelling that differs only in its
/// separators goes, whatever the route.
pub fn strip(headers: &mut HeaderMap) {
    remove_where(headers, |name| is_reserved(name.as_str()));
}

/// Removes the headers whose names are meant. No such name is the common case, and this finds it without an
/// allocation.
pub fn remove_where(headers: &mut HeaderMap, meant: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| meant(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether only the gate may set this header. Header names are in lower case.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('x') && RESERVED.iter().any(|reserved| begins_with(name, reserved))
}

/// Whether a name begins with another, whatever separators stand in either.
fn begins_with(name: &str, beginning: &str) -> bool {
    name.len() >= beginning.len()
        && name.bytes().zip(beginning.bytes()).all(|(given, wanted)| match wanted {
            letter if letter.is_ascii_alphanumeric() => given == letter,
            _ => !given.is_ascii_alphanumeric(),
        })
}

/// Headers that say how a request came here. The gate writes them; callers may not in any other spelling.
const FORWARDING: [&str; 3] = ["x-forwarded-", "x-real-ip", "x-kong-request-id"];

/// Removes other spellings of the headers that say how a request came here, and `Forwarded` (RFC 7239)
/// of those who are not trusted to say so.
pub fn strip_forwarding(headers: &mut HeaderMap, trusted: bool) {
    let forged = |name: &HeaderName| {
        let name = name.as_str();
        let misspelt = name.starts_with('x')
            && FORWARDING.iter().any(|canonical| begins_with(name, canonical) && !name.starts_with(canonical));
        misspelt || name == "forwarded" && !trusted
    };
    remove_where(headers, forged);
}

/// Removes what plugins of the configuration tell services, in whatever spelling: callers may not.
pub fn strip_reserved(headers: &mut HeaderMap, reserved: &[HeaderName]) {
    if !reserved.is_empty() {
        remove_where(headers, |name| is_one_of(name, reserved));
    }
}

fn is_one_of(name: &HeaderName, reserved: &[HeaderName]) -> bool {
    let same = |own: &HeaderName| name.as_str().len() == own.as_str().len() && begins_with(name.as_str(), own.as_str());
    reserved.iter().any(same)
}

/// Whether a plugin may use this header to tell services something: it frames no message, is for nobody else, and
/// is not written by the gate anyhow.
pub fn may_be_told_in(name: &HeaderName) -> bool {
    let text = name.as_str();
    let ours = is_reserved(text) || ["forwarded", "via", "expect"].contains(&text);
    !NO_TRAILERS.contains(name) && !ours && !FORWARDING.iter().any(|canonical| begins_with(text, canonical))
}

/// What belongs to the head alone, because it says where the message ends, whom it is for, or who sends it
/// (RFC 9110 section 6.5.1).
const NO_TRAILERS: [HeaderName; 11] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    COOKIE,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes from trailers what may not be said there, or not in headers either: some services merge the two.
pub fn strip_trailers(trailers: &mut HeaderMap, reserved: &[HeaderName]) {
    let forged = |name: &HeaderName| {
        if NO_TRAILERS.contains(name) || is_one_of(name, reserved) {
            return true;
        }
        let name = name.as_str();
        is_reserved(name) || name == "forwarded" || FORWARDING.iter().any(|canonical| begins_with(name, canonical))
    };
    remove_where(trailers, forged);
}

impl Identity {
    /// Tells the service who is calling, in place of whatever an earlier authenticator said.
    pub fn write(&self, headers: &mut HeaderMap) {
        remove_where(headers, |name| is_reserved(name.as_str()) && OURS.contains(name));
        if let Some(consumer) = &self.consumer {
            headers.insert(CONSUMER_ID, id_value(consumer.id));
            let mut set = |name, text: Option<&str>| text.map(|text| headers.insert(name, header_value(text)));
            set(CONSUMER_CUSTOM_ID, consumer.custom_id.as_deref());
            set(CONSUMER_USERNAME, consumer.username.as_deref());
        }
        match &self.credential {
            Some(credential) => headers.insert(CREDENTIAL_IDENTIFIER, credential.identifier.clone()),
            None => headers.insert(ANONYMOUS_CONSUMER, HeaderValue::from_static("true")),
        };
    }
}

/// What [`Identity::write`] says; groups are said by acl.
const OURS: [HeaderName; 5] =
    [CONSUMER_ID, CONSUMER_CUSTOM_ID, CONSUMER_USERNAME, CREDENTIAL_IDENTIFIER, ANONYMOUS_CONSUMER];

/// Several texts as one header value. A comma within one of them does not make two of it.
pub fn list_value<S: AsRef<str>>(items: &[S]) -> HeaderValue {
    let items: Vec<String> = items.iter().map(|item| item.as_ref().replace(',', "%2C")).collect();
    header_value(&items.join(", "))
}

/// Whether a name is one of `x-original-*`, in whatever spelling.
pub fn is_original(name: &HeaderName) -> bool {
    begins_with(name.as_str(), "x-original-")
}

/// Text as a header value. UTF-8 passes as it is, as in Kong; what no header can hold is percent-encoded.
pub fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| {
        let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::CONTROLS).to_string();
        HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
    })
}

/// The identity of an entity as a header value.
pub fn id_value(id: Uuid) -> HeaderValue {
    header_value(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_identity_header_is_reserved() {
        for name in [
            "x-consumer-id",
            "x_consumer_id",
            "x-consumer_id",
            "x.consumer.id",
            "x~consumer~username",
            "x-credential-identifier",
            "x-authenticated-userid",
            "x-anonymous-consumer",
            "x_anonymous_consumer",
            "x-consumer-groups",
            "x-consumer-",
            "x-anonymous-consumer-",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["x-consumers", "xconsumer-id", "x-consumer", "x-request-id", "host", "x", "x-anonymous"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn values_that_no_header_can_hold_are_encoded() {
        assert_eq!(header_value("a\r\nx: y"), "a%0D%0Ax: y");
        assert_eq!(header_value("zoë").as_bytes(), "zoë".as_bytes());
    }
}
