//! Heads of requests and answers: what is accepted, another parser reads in the same way, and it survives
//! being written and read again.

#![no_main]

use bytes::{Bytes, BytesMut};
use http1::head::{self, Limits, Scan};
use http1::write;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { bytes: 4096, fields: 50 };

fuzz_target!(|data: &[u8]| {
    let whole = Scan::default().end(data, LIMITS.bytes);
    let mut slowly = Scan::default();
    let stepwise = (1..=data.len()).map(|length| slowly.end(&data[..length], LIMITS.bytes));
    let stepwise = stepwise.into_iter().find(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None));
    assert_eq!(whole, stepwise);
    let Ok(Some(length)) = whole else { return };
    let bytes = Bytes::copy_from_slice(&data[..length]);
    let _ = head::response(&bytes, LIMITS);
    let Ok(parts) = head::request(&bytes, LIMITS) else { return };

    let mut fields = [httparse::EMPTY_HEADER; 50];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(&bytes), Ok(httparse::Status::Complete(length)));
    assert_eq!(other.method, Some(parts.method.as_str()));
    assert_eq!(other.headers.len(), parts.headers.len());
    for field in other.headers.iter() {
        assert!(parts.headers.get_all(field.name).iter().any(|value| value.as_bytes() == field.value));
    }

    let mut again = BytesMut::new();
    write::request_line(&mut again, parts.method.as_str(), other.path.unwrap());
    write::fields(&mut again, &parts.headers);
    write::end_of_head(&mut again);
    let again = head::request(&again.freeze(), Limits { bytes: 8192, fields: 50 }).unwrap();
    assert_eq!((again.method, again.uri, again.headers), (parts.method, parts.uri, parts.headers));
});
