//! RSA public keys from their two numbers, with the checks that verification alone would not make.

use aws_lc_rs::signature::{ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};

use super::KeyError;

/// Makes a key from the modulus and the public exponent, big-endian without leading zeros (RFC
/// 7518 section 6.3.1).
pub(super) fn public_key(parameters: &'static RsaParameters, n: &[u8], e: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    check_modulus(n)?;
    check_exponent(e)?;
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| KeyError::RsaModulus)
}

fn check_modulus(n: &[u8]) -> Result<(), KeyError> {
    let (Some(first), Some(last)) = (n.first(), n.last()) else {
        return Err(KeyError::RsaModulus);
    };
    if *first == 0 || last.is_multiple_of(2) {
        return Err(KeyError::RsaModulus);
    }
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::RsaModulusLength(bits));
    }
    if is_roca(n) { Err(KeyError::RsaRoca) } else { Ok(()) }
}

/// An exponent of 1 makes every padded hash its own signature, and a small one helps forgers of
/// lax padding; the upper bound is the library's own, against slow verification.
fn check_exponent(e: &[u8]) -> Result<(), KeyError> {
    if e.len() > 5 || e.first() == Some(&0) {
        return Err(KeyError::RsaExponent);
    }
    let e = e.iter().fold(0_u64, |e, &byte| e << 8 | u64::from(byte));
    if (65_537..1 << 33).contains(&e) && !e.is_multiple_of(2) { Ok(()) } else { Err(KeyError::RsaExponent) }
}

/// Whether the modulus carries the fingerprint of CVE-2017-15361 ("ROCA"): its primes were drawn
/// from powers of 65537 modulo a product of small primes, so the modulus is such a power too. A
/// modulus of another origin passes for one with a probability below 2^-150.
fn is_roca(n: &[u8]) -> bool {
    const SMALL_PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
        109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    SMALL_PRIMES.iter().all(|&prime| {
        let residue = n.iter().fold(0, |residue, &byte| (residue << 8 | u32::from(byte)) % prime);
        std::iter::successors(Some(1), |&power| {
            let next = power * (65_537 % prime) % prime;
            (next != 1).then_some(next)
        })
        .any(|power| power == residue)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus(bits: usize) -> Vec<u8> {
        let octets = bits.div_ceil(8);
        [vec![0xff >> (octets * 8 - bits)], vec![0xff; octets - 1]].concat()
    }

    #[test]
    fn moduli() {
        let padded = [vec![0], modulus(2048)].concat();
        let even = [modulus(2040), vec![0xfe]].concat();
        for (n, expect) in [
            (modulus(1024), Err(KeyError::RsaModulusLength(1024))),
            (modulus(2047), Err(KeyError::RsaModulusLength(2047))),
            (modulus(2048), Ok(())),
            (modulus(8192), Ok(())),
            (modulus(8193), Err(KeyError::RsaModulusLength(8193))),
            (padded, Err(KeyError::RsaModulus)),
            (even, Err(KeyError::RsaModulus)),
            (vec![], Err(KeyError::RsaModulus)),
        ] {
            assert_eq!(check_modulus(&n), expect);
        }
    }

    #[test]
    fn exponents() {
        for (e, expect) in [
            (&[1, 0, 1][..], Ok(())),
            (&[1, 0, 3], Ok(())),
            (&[1, 0xff, 0xff, 0xff, 0xff], Ok(())),
            (&[2, 0, 0, 0, 1], Err(KeyError::RsaExponent)),
            (&[1, 0, 0, 0, 0, 0, 1], Err(KeyError::RsaExponent)),
            (&[], Err(KeyError::RsaExponent)),
            (&[1], Err(KeyError::RsaExponent)),
            (&[3], Err(KeyError::RsaExponent)),
            (&[0xff, 0xff], Err(KeyError::RsaExponent)),
            (&[1, 0, 0], Err(KeyError::RsaExponent)),
            (&[0, 1, 0, 1], Err(KeyError::RsaExponent)),
        ] {
            assert_eq!(check_exponent(e), expect, "{e:?}");
        }
    }

    #[test]
    fn a_power_of_65537_has_the_roca_fingerprint() {
        let power = [0x01, 0x00, 0x02, 0x00, 0x01]; // 65537 squared
        assert!(is_roca(&power));
        assert!(is_roca(&[1]));
        assert!(!is_roca(&[1, 0, 2, 0, 3]));
        assert!(!is_roca(&modulus(2048)));
    }
}
