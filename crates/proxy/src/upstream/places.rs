//! The addresses behind a destination, and the connections kept to them.

use super::http1::Link;
use crate::weighted::{Turns, divisor, draw};
use net::dns::Place;
use net::egress::Until;
use std::net::SocketAddr;
use tokio::time::Instant;

/// One destination, as one core knows it.
pub struct Near {
    pub idle: Vec<Link>,
    places: Places,
    until: Until,
    epoch: u64,
    turn: u64,
    /// A request has asked for it since the last sweep.
    asked_for: bool,
}

/// Where the name of a destination leads.
struct Places {
    addresses: Vec<SocketAddr>,
    /// The weights of the first of them. The others are for the case that none of these can be reached.
    weights: Vec<u64>,
    turns: Turns,
}

impl Near {
    pub fn new(places: &[Place], port: u16, until: Until, epoch: u64) -> Near {
        // Cores that begin at the same place would ask it all together.
        Near {
            idle: Vec::new(),
            places: Places::new(places, port),
            until,
            epoch,
            turn: fastrand::u64(..),
            asked_for: true,
        }
    }

    /// Takes over what was found anew. Connections to addresses that are no more are not used again.
    pub fn renew(&mut self, newer: Near) {
        let Near { places, until, epoch, .. } = newer;
        (self.places, self.until, self.epoch, self.asked_for) = (places, until, epoch, true);
    }

    /// Whether what is known still holds. `epoch` is that of the names.
    pub fn holds(&self, epoch: u64) -> bool {
        self.until.is_none_or(|until| self.epoch == epoch && Instant::now() < until)
    }

    /// Whose turn it is, or who is always meant by a hash.
    pub fn choose(&mut self, hash: Option<u64>) -> usize {
        self.asked_for = true;
        let Places { addresses, weights, turns } = &self.places;
        if weights.len() <= 1 {
            return 0;
        }
        let chosen = match hash {
            Some(hash) => {
                let draws =
                    addresses.iter().zip(weights).map(|(address, weight)| draw((hash, address), *weight as f64));
                draws.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
            }
            None => {
                self.turn = self.turn.wrapping_add(1);
                turns.at(self.turn, weights.iter().copied())
            }
        };
        chosen.unwrap_or(0)
    }

    pub fn address(&self, index: usize) -> Option<SocketAddr> {
        self.places.addresses.get(index).copied()
    }

    /// Every address, in the order in which they are tried where the one at `first` cannot be reached.
    pub fn all_from(&self, first: usize) -> Vec<SocketAddr> {
        let (preferred, others) = self.places.addresses.split_at(self.places.weights.len());
        let in_turn = preferred.iter().cycle().skip(first).take(preferred.len());
        in_turn.chain(others).copied().collect()
    }

    /// Whether it is kept in mind for longer; asked at each sweep.
    pub fn still_used(&mut self) -> bool {
        std::mem::take(&mut self.asked_for) || !self.idle.is_empty()
    }

    /// The connection to an address that was used last.
    pub fn take(&mut self, address: SocketAddr) -> Option<Link> {
        let index = self.idle.iter().rposition(|link| link.address == address)?;
        Some(self.idle.remove(index))
    }
}

impl Places {
    fn new(places: &[Place], port: u16) -> Places {
        let address = |place: &Place| SocketAddr::new(place.ip, place.port.unwrap_or(port));
        let best = places.iter().map(|place| place.priority).min();
        let preferred = places.iter().filter(|place| Some(place.priority) == best);
        let weights: Vec<u64> = preferred.map(|place| place.weight.into()).collect();
        // In their lowest terms, so that equal ones alternate.
        let common = weights.iter().copied().fold(0, divisor).max(1);
        let weights: Vec<u64> = weights.into_iter().map(|weight| weight / common).collect();
        let turns = Turns::new(weights.iter().copied());
        Places { addresses: places.iter().map(address).collect(), weights, turns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(places: &[(u8, Option<u16>, u16, u32)]) -> Near {
        let place = |&(last, port, priority, weight): &(u8, Option<u16>, u16, u32)| Place {
            ip: [127, 0, 0, last].into(),
            port,
            priority,
            weight,
        };
        Near::new(&places.iter().map(place).collect::<Vec<_>>(), 80, None, 0)
    }

    fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
        addresses.iter().map(SocketAddr::port).collect()
    }

    #[test]
    fn addresses_take_turns_by_weight_within_the_best_priority() {
        let mut near = near(&[(1, Some(1), 0, 3000), (2, None, 0, 1000), (3, Some(3), 9, 100)]);
        let mut taken = [0; 3];
        (0..4).for_each(|_| taken[near.choose(None)] += 1);
        assert_eq!(taken, [3, 1, 0]);
        assert_eq!(ports(&near.all_from(1)), [80, 1, 3]);
    }

    #[test]
    fn a_hash_leads_to_the_same_address_as_long_as_that_is_there() {
        let mut all = near(&[(1, None, 0, 1), (2, None, 0, 1), (3, None, 0, 1)]);
        let mut fewer = near(&[(1, None, 0, 1), (3, None, 0, 1)]);
        let mut seen = [0; 3];
        for hash in 0..300 {
            let chosen = all.choose(Some(hash));
            seen[chosen] += 1;
            let again = fewer.choose(Some(hash));
            assert!(chosen == 1 || all.address(chosen) == fewer.address(again));
        }
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
    }
}
