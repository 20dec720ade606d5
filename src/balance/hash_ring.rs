//! Where consistent hashing finds a backend: a ring of points, each backend's own.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    num::NonZeroU16,
};

use pingora_ketama::{Bucket, Continuum};

/// Points of backends on a ring, the same as nginx's `hash … consistent` has for the same
/// addresses and weights.
pub struct HashRing {
    continuum: Continuum,
    /// Two names may lead to one address.
    indices: HashMap<SocketAddr, Vec<u16>>,
}

impl HashRing {
    /// Places backends given as index, address and weight. Costs 160 points of 8 bytes for each unit
    /// of weight. Where the weights sum to more than 10,000, they are scaled down, and the ring is not
    /// nginx's.
    pub fn new(backends: impl Iterator<Item = (u16, SocketAddr, NonZeroU16)>) -> Self {
        let mut indices: HashMap<SocketAddr, Vec<u16>> = HashMap::new();
        // In an order of their own, so that the ring is the same each time.
        let mut weights: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        for (index, addr, weight) in backends {
            indices.entry(addr).or_default().push(index);
            *weights.entry(addr).or_default() += u32::from(weight.get());
        }
        let total: u32 = weights.values().sum();
        // The more points, the longer they take to sort; so many are exact enough.
        let divisor = total.div_ceil(WEIGHTS_MAX).max(1);
        let buckets: Vec<Bucket> = weights
            .into_iter()
            .map(|(addr, weight)| Bucket::new(addr, (weight / divisor).max(1)))
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

/// The sum of weights that the ring has points for: 13 MB, and a tenth of a second to sort.
const WEIGHTS_MAX: u32 = 10_000;
