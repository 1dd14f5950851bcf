//! Answers, as bytes with a status.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, SERVER};
use http::{HeaderValue, StatusCode};
use schema::Value;

pub(crate) type Response = http::Response<Bytes>;

/// Compact JSON.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = empty(status);
    *response.body_mut() = Bytes::from(body.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

pub(crate) fn ok(body: &Value) -> Response {
    json(StatusCode::OK, body)
}

/// With the tag of the entity that it shows.
pub(crate) fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("portcullis"));
    // Keys and secrets are in these answers: no cache may keep them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to `OPTIONS`.
pub(crate) fn methods(allow: &'static str) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to `HEAD`: that to `GET`, with the length of a body that is not sent.
pub(crate) fn head(mut response: Response) -> Response {
    let length = response.body().len();
    *response.body_mut() = Bytes::new();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
