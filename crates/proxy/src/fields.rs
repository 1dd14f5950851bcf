//! Header fields on their way out: as HTTP/1.1 writes them, or as HTTP/2 wants them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Takes fields one by one. What the gate adds to a message goes straight to where it is written, without a
/// map in between.
pub trait Fields {
    fn put(&mut self, name: &HeaderName, value: &[u8]);
}

impl Fields for Vec<u8> {
    fn put(&mut self, name: &HeaderName, value: &[u8]) {
        http1::write::field(self, name, value);
    }
}

impl Fields for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name, value);
        }
    }
}

/// A number in decimal digits.
pub struct Digits([u8; 20], usize);

impl Digits {
    pub fn of(mut number: u64) -> Digits {
        let mut digits = Digits([b'0'; 20], 20);
        while let Some(digit) = digits.1.checked_sub(1).and_then(|at| digits.0.get_mut(at)) {
            *digit = b'0' + (number % 10) as u8;
            digits.1 -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        digits
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.get(self.1..).unwrap_or_default()
    }
}

/// Writes a field whose values become one line, with one more at its end.
pub fn put_joined<'a>(
    out: &mut impl Fields,
    name: &HeaderName,
    values: impl Iterator<Item = &'a HeaderValue>,
    last: &[u8],
) {
    let mut line = Vec::with_capacity(128);
    for value in values {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(last);
    out.put(name, &line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            assert_eq!(Digits::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
