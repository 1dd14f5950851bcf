//! HTTP/1.1 on the wire (RFC 9112): heads and bodies, read strictly, and written.
//!
//! Bytes in, values out: no I/O, no clock. What the RFC lets a recipient repair (a bare LF, a folded line,
//! a length beside `chunked`) is refused here, because the next reader on the path may repair it otherwise,
//! and then one request hides within another.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod body;
pub mod chunked;
pub mod framing;
pub mod head;
pub mod write;
