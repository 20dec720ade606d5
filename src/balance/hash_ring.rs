//! Where consistent hashing finds a backend: a ring of points, each backend's own.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    num::NonZeroU16,
};

use pingora_ketama::{Bucket, Continuum};

use crate::balance::greatest_common_divisor;

/// Points of backends on a ring, the same as nginx's `hash … consistent` has for the same
/// addresses and weights.
pub struct HashRing {
    continuum: Continuum,
    /// Two names may lead to one address.
    indices: HashMap<SocketAddr, Vec<u16>>,
}

impl HashRing {
    /// Places backends given as index, address and weight. Costs 160 points of 8 bytes for each unit
    /// of weight. Where the weights sum to more than 10,000, they are scaled down to that, but to no less
    /// than 1 for an address, and the ring is not nginx's.
    pub fn new(backends: impl Iterator<Item = (u16, SocketAddr, NonZeroU16)>) -> Self {
        let mut indices: HashMap<SocketAddr, Vec<u16>> = HashMap::new();
        // In an order of their own, so that the ring is the same each time.
        let mut weights: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        for (index, addr, weight) in backends {
            indices.entry(addr).or_default().push(index);
            *weights.entry(addr).or_default() += u32::from(weight.get());
        }
        let total: u32 = weights.values().sum();
        let common = weights.values().copied().fold(0, greatest_common_divisor);
        // More points take too long to sort; then weights that share a factor are still exact.
        let divisor = match total {
            0..=WEIGHTS_MAX => 1,
            _ => common.max(total.div_ceil(WEIGHTS_MAX)),
        };
        let buckets: Vec<Bucket> = weights
            .into_iter()
            .map(|(addr, weight)| Bucket::new(addr, ((weight + divisor / 2) / divisor).max(1)))
            .collect();
        Self {
            continuum: Continuum::new(&buckets),
            indices,
        }
    }

    /// The backends in the order in which the ring has them, from the place of a key on. Goes round
    /// for ever. Costs a hash of the key and a binary search, and a look-up for each step.
    pub fn from_key(&self, key: &[u8]) -> impl Iterator<Item = u16> {
        self.continuum
            .node_iter(key)
            .filter_map(|addr| self.indices.get(addr))
            .flatten()
            .copied()
    }
}

impl fmt::Debug for HashRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashRing")
            .field("backends", &self.indices.len())
            .finish_non_exhaustive()
    }
}

/// The sum of weights that the ring has points for, unless there are more addresses: 13 MB, and a tenth of a second to sort.
const WEIGHTS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn ring(weights: &[u16]) -> HashRing {
        HashRing::new((0..).zip(weights).map(|(index, &weight)| {
            let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1000 + index);
            (index, addr, NonZeroU16::new(weight).unwrap())
        }))
    }

    /// Keys of 20,000 that each backend gets first.
    fn counts(weights: &[u16]) -> Vec<u32> {
        let ring = ring(weights);
        let mut counts = vec![0; weights.len()];
        for key in 0..20_000_u32 {
            let first = ring.from_key(format!("film-{key}").as_bytes()).next();
            counts[usize::from(first.unwrap())] += 1;
        }
        counts
    }

    /// Eleven of the greatest weight are no other ring than eleven of weight 1.
    #[test]
    fn weights_that_are_scaled_down_keep_their_proportions() {
        assert_eq!(counts(&[1000; 11]), counts(&[1; 11]));
        let mut weights = vec![1000; 10];
        weights.extend([300, 200]);
        let counts = counts(&weights);
        let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
        for (&count, &weight) in counts.iter().zip(&weights) {
            let even = 20_000 * u32::from(weight) / total;
            assert!(
                count.abs_diff(even) < even / 4,
                "{weight}: {count}, not {even}"
            );
        }
    }

    #[test]
    fn an_empty_ring_leads_nowhere() {
        assert_eq!(ring(&[]).from_key(b"film").next(), None);
    }
}
