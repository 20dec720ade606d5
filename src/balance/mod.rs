//! Chooses backends. Pure: the caller brings turns, loads and random numbers.

mod balancer;
mod hash_key;
mod hash_ring;
mod load;
mod schedule;
mod weighted_draw;

pub use balancer::Balancer;
pub use hash_key::HashKey;
pub use hash_ring::HashRing;
pub use load::{Load, least_loaded};
pub use schedule::Schedule;
pub use weighted_draw::WeightedDraw;

/// How an upstream chooses among its available backends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// In turn, by weight; exact over the process.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight; equal ones in turn. Costs a look
    /// at each backend.
    LeastConnections,
    /// The less loaded of two that are drawn at random, by weight (Mitzenmacher, "The power of two
    /// choices", 2001). Costs nearly the same however many there are.
    RandomTwo,
    /// The one that a hash of the request leads to, so that like requests meet a warm cache.
    /// Removing a backend remaps only its own keys. None bears more than a bound over the
    /// average (Mirrokni et al., "Consistent hashing with bounded loads", 2016). Costs a look at
    /// each backend.
    ConsistentHash {
        /// The most that a backend may have in flight, in percent of its share. At least 100.
        /// Default 125. Lower spreads hot keys more evenly and moves more of them.
        bound_percent: u32,
    },
}

impl Policy {
    /// The default of `load_bound`, in percent.
    pub const BOUND_PERCENT: u32 = 125;
}

/// What weights have in common; costs about the logarithm of the smaller one.
fn greatest_common_divisor<T>(one: T, other: T) -> T
where
    T: Copy + Default + PartialEq + std::ops::Rem<Output = T>,
{
    if other == T::default() {
        return one;
    }
    greatest_common_divisor(other, one % other)
}
