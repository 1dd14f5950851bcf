//! Chunked bodies: the same bytes come out however they come in, and nothing after the end is touched.

#![no_main]

use bytes::BytesMut;
use http1::body::{Next, Reader};
use http1::chunked::ChunkFault;
use http1::framing::Length;
use libfuzzer_sys::fuzz_target;

/// The body, whether its end came, and what is left behind it.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, bool, Vec<u8>), ChunkFault> {
    let (mut reader, mut input, mut data) = (Reader::new(Length::Chunked), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        while !reader.ended() {
            match reader.next(&mut input)? {
                Next::Data(bytes) => data.extend_from_slice(&bytes),
                Next::Trailers(_) | Next::End | Next::More => break,
            }
        }
    }
    Ok((data, reader.ended(), input.to_vec()))
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, wire)) = data.split_first() else { return };
    let whole = read(std::iter::once(wire));
    let pieces = read(wire.chunks(usize::from(*cut % 16) + 1));
    match (&whole, &pieces) {
        // Which of several faults is found first may depend on the cut; that there is one may not.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, pieces),
    }
    if let Ok((body, true, rest)) = whole {
        assert!(wire.ends_with(&rest));
        assert!(body.len() + rest.len() + 5 <= wire.len());
    }
});
