//! Where consistent hashing finds a backend: a ring of points, each backend's own.

use std::{collections::HashMap, fmt, net::SocketAddr, num::NonZeroU16};

use pingora_ketama::{Bucket, Continuum, DEFAULT_POINT_MULTIPLE};

/// Points of backends on a ring, the same as nginx's `hash … consistent` has for the same
/// addresses and weights.
pub struct HashRing {
    continuum: Continuum,
    indices: HashMap<SocketAddr, u16>,
    /// At least as many as the ring has.
    points: usize,
}

impl HashRing {
    /// Places backends given as index, address and weight. Costs 160 points for each unit of
    /// weight.
    pub fn new(backends: impl Iterator<Item = (u16, SocketAddr, NonZeroU16)>) -> Self {
        let mut indices = HashMap::new();
        let mut buckets = Vec::new();
        let mut points = 0;
        for (index, addr, weight) in backends {
            indices.insert(addr, index);
            points += usize::from(weight.get()) * DEFAULT_POINT_MULTIPLE as usize;
            buckets.push(Bucket::new(addr, weight.get().into()));
        }
        Self {
            continuum: Continuum::new(&buckets),
            indices,
            points,
        }
    }

    /// The backends in the order in which the ring has them, from the place of a key on; one that
    /// has several points comes several times. Costs a hash of the key and a binary search.
    pub fn from_key(&self, key: &[u8]) -> impl Iterator<Item = u16> {
        // The library's iterator goes round for ever.
        self.continuum
            .node_iter(key)
            .take(self.points)
            .filter_map(|addr| self.indices.get(addr).copied())
    }
}

impl fmt::Debug for HashRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashRing")
            .field("backends", &self.indices.len())
            .finish_non_exhaustive()
    }
}
