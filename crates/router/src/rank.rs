//! The one order of all groups.

use std::cmp::Reverse;

use uuid::Uuid;

/// Which of two orders decides between routes that all fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precedence {
    /// The order Kong documents: number of attribute kinds, plain hosts before wildcards, number
    /// of headers, regular expressions by their priority, length of the path.
    #[default]
    Documented,
    /// The order a running Kong 3.9 has.
    ///
    /// Kong packs the same criteria into 64 bits, but shifts Lua numbers, for which LuaJIT keeps
    /// 32 bits only: the number of kinds falls below the two flags (plain hosts, regular
    /// expression) unless it is four or more, and the priority of a regular expression mixes
    /// with the number of headers.
    Kong39,
}

/// What the order looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Criteria {
    /// How many of methods, hosts, headers, paths and SNIs the route uses.
    pub(crate) kinds: u8,
    /// Hosts are given, and none has a wildcard.
    pub(crate) plain_hosts: bool,
    pub(crate) headers: usize,
    /// The priority of a group of regular expressions.
    pub(crate) regex: Option<i64>,
    pub(crate) path_length: usize,
    pub(crate) id: Uuid,
}

/// Sorts ascending, the best first.
pub(crate) type Key = Reverse<(u64, (bool, u8, bool, i64, usize), Uuid)>;

/// Kong counts no further.
const MAX_HEADERS: usize = 255;

impl Criteria {
    pub(crate) fn key(&self, precedence: Precedence) -> Key {
        let headers = u8::try_from(self.headers.min(MAX_HEADERS)).unwrap_or(u8::MAX);
        match precedence {
            Precedence::Documented => {
                let rest = (self.plain_hosts, headers, self.regex.is_some(), self.regex.unwrap_or(0), self.path_length);
                Reverse((u64::from(self.kinds), rest, self.id))
            }
            Precedence::Kong39 => Reverse((self.packed(headers), Default::default(), self.id)),
        }
    }

    /// `get_priority` of Kong's `router/transform.lua`, as LuaJIT computes it.
    #[allow(clippy::cast_possible_truncation, reason = "LuaJIT keeps the low 32 bits of a number before it shifts")]
    fn packed(&self, headers: u8) -> u64 {
        // shift counts of 61 and 52 are taken modulo 32
        let low = u32::from(self.kinds) << 29
            | u32::from(headers) << 20
            | (self.regex.unwrap_or(0) as u32) << 19
            | (self.path_length as u32 & 0x7_FFFF);
        // the 32 bits are signed, and keep their sign when they meet a 64-bit operand
        let mut packed = i64::from(low.cast_signed()).cast_unsigned();
        if self.plain_hosts {
            packed |= 1 << 60;
        }
        if self.regex.is_some() {
            packed |= 1 << 51;
        }
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criteria(kinds: u8, plain_hosts: bool, headers: usize) -> Criteria {
        Criteria { kinds, plain_hosts, headers, ..Criteria::default() }
    }

    fn regex(priority: i64) -> Criteria {
        Criteria { regex: Some(priority), ..criteria(1, false, 0) }
    }

    fn length(path_length: usize) -> Criteria {
        Criteria { path_length, ..criteria(1, false, 0) }
    }

    /// `worse` comes before `better` in no other respect than the one under test.
    fn check(better: Criteria, worse: Criteria) {
        assert!(better.key(Precedence::Documented) < worse.key(Precedence::Documented), "{better:?} before {worse:?}");
    }

    #[test]
    fn documented_order() {
        check(criteria(2, false, 0), criteria(1, true, 9));
        check(criteria(1, true, 0), criteria(1, false, 9));
        check(criteria(1, false, 2), criteria(1, false, 1));
        check(criteria(1, false, 1), regex(1_000_000));
        check(regex(-7), length(1000));
        check(regex(5), regex(4));
        check(regex(0), regex(-1));
        check(length(3), length(2));
        let id = |n| Criteria { id: Uuid::from_u128(n), ..length(1) };
        check(id(2), id(1));
        assert_eq!(
            criteria(1, false, 255).key(Precedence::Documented),
            criteria(1, false, 999).key(Precedence::Documented)
        );
    }

    /// The numbers are those that Kong's own function returned under LuaJIT 2.1.
    #[test]
    fn kong39_numbers() {
        fn check(criteria: Criteria, expected: u64) {
            let Reverse((packed, ..)) = criteria.key(Precedence::Kong39);
            assert_eq!(packed, expected, "{criteria:?}");
        }
        let with_length = |criteria| Criteria { path_length: 2, ..criteria };
        let hosts_and_regex = Criteria { plain_hosts: true, kinds: 2, ..regex(5) };
        check(with_length(criteria(1, false, 0)), 0x2000_0002);
        check(criteria(1, true, 0), 0x1000_0000_2000_0000);
        check(criteria(1, false, 0), 0x2000_0000);
        check(with_length(criteria(2, true, 0)), 0x1000_0000_4000_0002);
        check(with_length(criteria(2, false, 0)), 0x4000_0002);
        check(with_length(criteria(3, false, 1)), 0x6010_0002);
        check(with_length(criteria(4, false, 1)), 0xffff_ffff_8010_0002);
        check(with_length(criteria(4, true, 1)), 0xffff_ffff_8010_0002);
        check(with_length(criteria(5, true, 1)), 0xffff_ffff_a010_0002);
        check(with_length(criteria(3, false, 2)), 0x6020_0002);
        check(regex(0), 0x0008_0000_2000_0000);
        check(regex(5), 0x0008_0000_2028_0000);
        check(regex(-5), 0xffff_ffff_ffd8_0000);
        check(hosts_and_regex, 0x1008_0000_4028_0000);
    }
}
