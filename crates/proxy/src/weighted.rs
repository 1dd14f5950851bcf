//! Choosing by weight: in turn, or by hash.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Turns by weight: of weights 1 and 2 the second is taken two times out of three, evenly spread.
pub struct Turns {
    total: u64,
    /// Coprime to the total, so that stepping by it visits every share once before any twice.
    stride: u64,
}

impl Turns {
    pub fn new(weights: impl Iterator<Item = u64>) -> Turns {
        let total = weights.sum();
        Turns { total, stride: stride(total) }
    }

    /// Whose turn it is, of those with these weights; `None` if all weights are 0.
    pub fn at(&self, turn: u64, weights: impl Iterator<Item = u64>) -> Option<usize> {
        let turn = turn.checked_rem(self.total)?;
        let mut share = u128::from(turn) * u128::from(self.stride) % u128::from(self.total);
        weights.map(u128::from).position(|weight| {
            let here = share < weight;
            share = share.saturating_sub(weight);
            here
        })
    }
}

/// The greatest number that divides both.
pub fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// A number near 0.618 of `total` that has no divisor in common with it.
fn stride(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988) as u64;
    (golden.max(1)..).find(|candidate| divisor(*candidate, total) == 1).unwrap_or(1)
}

/// How long a draw is for a thing of this weight; the longest wins (weighted rendezvous hashing). When a thing
/// comes or goes, only its own share changes hands.
pub fn draw(thing: impl Hash, weight: f64) -> f64 {
    let uniform = (hash(thing) >> 11) as f64 / (1u64 << 53) as f64;
    -weight / uniform.max(f64::MIN_POSITIVE).ln()
}

pub fn hash(thing: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_share() {
        for weights in [vec![1], vec![1, 2], vec![100, 100, 100], vec![7, 0, 3], vec![65_535, 1]] {
            let turns = Turns::new(weights.iter().copied());
            let mut taken = vec![0; weights.len()];
            (0..turns.total).for_each(|turn| taken[turns.at(turn, weights.iter().copied()).unwrap()] += 1);
            assert_eq!(taken, weights);
        }
        assert_eq!(Turns::new([0, 0].into_iter()).at(5, [0, 0].into_iter()), None);
    }
}
