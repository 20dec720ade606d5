//! Chooses backends. Pure: the caller brings turns, loads and random numbers.

mod load;
mod schedule;

pub use load::{Load, least_loaded};
pub use schedule::Schedule;

/// How an upstream chooses among its available backends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// In turn, by weight; exact over the process.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight; equal ones in turn. Costs a look
    /// at each backend.
    LeastConnections,
    /// The less loaded of two that are drawn at random (Mitzenmacher, "The power of two choices",
    /// 2001). Costs the same however many there are.
    RandomTwo,
}
