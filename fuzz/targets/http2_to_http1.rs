//! HTTP/2 to HTTP/1.1: whatever an HTTP/2 caller says, the service gets one request, with one Host and with no
//! word about who calls that the gate did not say.

#![no_main]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Version};
use http1::head::{self, Limits, Scan};
use libfuzzer_sys::fuzz_target;
use proxy::Plan;
use proxy::body::Body;
use schema::Catalog;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let text = "_format_version: \"3.0\"\nservices:\n- url: http://service.test:81/base\n  routes:\n  - paths: [/a, /]\n";
    let catalog = Catalog::default();
    let vaults = model::vault::Vaults::new(HashMap::new());
    let context = model::declarative::Context { catalog: &catalog, vaults, now: 1_700_000_000 };
    proxy::testing::plan(model::declarative::read_text(text, context).ok().unwrap(), &[])
});

/// Fields, one after the other: a length, and so many bytes.
fn field<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first()?;
    let (field, rest) = rest.split_at_checked(usize::from(*length))?;
    *data = rest;
    Some(field)
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (Some(method), Some(authority), Some(path)) = (field(&mut data), field(&mut data), field(&mut data)) else {
        return;
    };
    let uri = [b"http://", authority, path].concat();
    let request = Request::builder().method(method).uri(uri).version(Version::HTTP_2).body(());
    let Ok(request) = request else { return };
    let (mut head, ()) = request.into_parts();
    while let (Some(name), Some(value)) = (field(&mut data), field(&mut data)) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            head.headers.append(name, value);
        }
    }
    let body = if data.is_empty() { Body::Empty } else { Body::Full(Bytes::copy_from_slice(data)) };
    let Some(written) = proxy::serve::written_for_service(head, body, PLAN.clone()) else { return };

    let limits = Limits { bytes: 1 << 20, fields: 1000 };
    assert_eq!(Scan::default().end(&written, limits.bytes), Ok(Some(written.len())), "one head and no more");
    let read = head::request(&Bytes::from(written), limits).expect("a head that anybody can read");
    assert!(read.uri.path().starts_with("/base"));
    assert_eq!(read.headers.get_all("host").iter().collect::<Vec<_>>(), ["service.test:81"]);
    assert!(!read.headers.keys().any(|name| proxy::identity::is_reserved(name.as_str())));
    http1::framing::of_request(Version::HTTP_11, &read.headers).expect("one end");
    assert_eq!(read.headers.get_all("x-real-ip").iter().collect::<Vec<_>>(), ["127.0.0.1"]);
});
