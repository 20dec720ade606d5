//! The time that token buckets count in.

use std::time::Duration;

/// A point in time, in 64ths of a nanosecond since the process began: fine enough that the time of
/// one token is rounded by less than 0.002 % at a million tokens a second. Overflows after nine
/// years, when it stands still.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Tick(pub(super) u64);

impl Tick {
    /// The tick of a moment that is this long after the process began.
    pub fn after(since_start: Duration) -> Self {
        let nanos = u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX);
        Self(nanos.saturating_mul(PER_NANO))
    }

    /// The tick that is some time later.
    pub(super) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(Self::after(time).0))
    }
}

/// A number of ticks as time, rounded up to a nanosecond.
pub(super) fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(PER_NANO))
}

const PER_NANO: u64 = 64;
/// Ticks of one second.
pub(super) const PER_SECOND: u64 = PER_NANO * 1_000_000_000;
