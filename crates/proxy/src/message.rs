//! A request on its way to a service, whoever makes it: the gate for a caller, or a plugin with a question of its own.

use crate::answer::UpstreamError;
use crate::early::Early;
use crate::fields::{Fields, put_cookies};
use crate::forward::{self, Hop};
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE};
use http::{HeaderMap, HeaderValue, Method, Version};

/// What is written of a request. The body comes apart.
pub trait Message {
    fn method(&self) -> &Method;
    /// Path and query.
    fn target(&self) -> &str;
    fn host(&self) -> &HeaderValue;
    /// Whether it states a length, be it 0.
    fn states_length(&self) -> bool;
    fn hop(&self) -> &Hop;
    /// Where interim answers go.
    fn early(&self) -> &Early;
    /// Writes every field but those that say whom the message is for and where it ends.
    fn write_fields(&self, out: &mut impl Fields);
}

/// A question of a plugin.
pub struct Ask {
    method: Method,
    target: String,
    host: HeaderValue,
    headers: HeaderMap,
    hop: Hop,
    early: Early,
}

impl Ask {
    /// What of these headers is for one connection, or says where a body ends, is left out.
    pub fn new(
        method: Method,
        target: String,
        host: HeaderValue,
        mut headers: HeaderMap,
    ) -> Result<Ask, UpstreamError> {
        forward::leave_connection(&mut headers, Version::HTTP_11, &[]);
        for name in [HOST, TE, CONTENT_LENGTH, EXPECT] {
            headers.remove(name);
        }
        match http1::head::is_target(&target) {
            true => Ok(Ask { method, target, host, headers, hop: Hop::default(), early: Early::default() }),
            false => Err(UpstreamError::Request("its path holds characters that no request target may hold")),
        }
    }
}

impl Message for Ask {
    fn method(&self) -> &Method {
        &self.method
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Of methods that announce a body, that there is none (RFC 9110 section 8.6).
    fn states_length(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
    }

    fn hop(&self) -> &Hop {
        &self.hop
    }

    fn early(&self) -> &Early {
        &self.early
    }

    fn write_fields(&self, out: &mut impl Fields) {
        let others = self.headers.iter().filter(|(name, _)| **name != COOKIE);
        others.for_each(|(name, value)| out.put(name, value.as_bytes()));
        if self.headers.contains_key(COOKIE) {
            put_cookies(out, self.headers.get_all(COOKIE).iter());
        }
    }
}
