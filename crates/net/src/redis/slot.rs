//! Which of a cluster's 16,384 slots a key is in: CRC-16/XMODEM of the key, or of what stands in its first braces
//! (Redis cluster specification, "Key distribution model").

const SLOTS: u16 = 16_384;

pub fn of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is the specification's own; the others were asked of a Redis 7 (`CLUSTER KEYSLOT`).
    #[test]
    fn slots_are_redis_own() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        for (key, slot) in [("foo", 12182), ("{foo}bar", 12182), ("a{foo}", 12182), ("{}foo", 9500), ("foo{", 7673)] {
            assert_eq!(of(key), slot, "{key}");
        }
    }
}
