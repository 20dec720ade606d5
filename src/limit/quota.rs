//! How many requests a client may make.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use crate::limit::tick::{self, PER_SECOND};

/// What one bucket holds, and how fast it fills: of a client that makes as many requests as it can,
/// `capacity` and then `rate` a second are admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    capacity: NonZeroU32,
    rate: Rate,
    /// Ticks until the next token, rounded up: never more is admitted than the rate says.
    ticks_per_token: u64,
}

/// Tokens a second, exact to a millionth.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rate {
    /// From 1 to [`MICROS_MAX`].
    micros: u64,
}

/// Why there is no such quota.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QuotaFault {
    /// The capacity is out of bounds.
    #[error("capacity must be a whole number from 1 to {CAPACITY_MAX}")]
    Capacity,
    /// The rate is out of bounds.
    #[error("rate_per_sec must be a number from 0.000001 to {RATE_MAX}")]
    Rate,
    /// The bucket fills too slowly.
    #[error(
        "an empty bucket would take more than 30 days to fill; lower capacity or raise rate_per_sec"
    )]
    TooSlow,
}

impl Quota {
    /// A quota.
    ///
    /// # Errors
    ///
    /// When the capacity is above 1,000,000,000, or an empty bucket takes more than 30 days to fill.
    pub fn new(capacity: NonZeroU32, rate: Rate) -> Result<Self, QuotaFault> {
        if capacity.get() > CAPACITY_MAX {
            return Err(QuotaFault::Capacity);
        }
        let ticks = (u128::from(PER_SECOND) * MICRO).div_ceil(u128::from(rate.micros));
        let fill = ticks * u128::from(capacity.get());
        if fill > u128::from(PER_SECOND * FILL_SECONDS_MAX) {
            return Err(QuotaFault::TooSlow);
        }
        Ok(Self {
            capacity,
            rate,
            ticks_per_token: u64::try_from(ticks).map_err(|_too_long| QuotaFault::TooSlow)?,
        })
    }

    /// Tokens of a full bucket.
    pub fn capacity(&self) -> NonZeroU32 {
        self.capacity
    }

    /// Tokens that come each second.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Time from empty to full.
    pub fn fill_time(&self) -> Duration {
        tick::duration(self.ticks_to_fill())
    }

    /// The same capacity at a rate that is exact in ticks.
    #[cfg(test)]
    pub(super) fn at_exactly(self, ticks_per_token: u64) -> Self {
        Self {
            ticks_per_token,
            ..self
        }
    }

    /// Ticks from empty to full.
    pub(super) fn ticks_to_fill(&self) -> u64 {
        self.ticks_per_token * u64::from(self.capacity.get())
    }

    /// Ticks by which a bucket may be more than empty: what other processes of a fleet gave out before
    /// they knew of each other, and what is left of a larger quota. One capacity or 64 tokens, and at
    /// least a second.
    pub(super) fn ticks_of_debt(&self) -> u64 {
        let tokens = u64::from(self.capacity.get()).max(DEBT_TOKENS);
        self.ticks_per_token.saturating_mul(tokens).max(PER_SECOND)
    }

    /// Time in which a number of tokens comes.
    pub fn time_of(&self, tokens: u64) -> Duration {
        tick::duration(self.ticks_per_token.saturating_mul(tokens))
    }

    /// The longest that a bucket can be from being full, debt included.
    pub fn time_of_deepest_debt(&self) -> Duration {
        tick::duration(self.ticks_to_fill().saturating_add(self.ticks_of_debt()))
    }

    /// Ticks in which as many tokens come. A request that costs more than a bucket holds takes all
    /// of it, since it could never be admitted otherwise.
    pub(super) fn ticks_of(&self, tokens: NonZeroU32) -> u64 {
        self.ticks_per_token * u64::from(tokens.min(self.capacity).get())
    }

    /// Whole tokens that come in as many ticks.
    pub(super) fn tokens_in(&self, ticks: u64) -> u32 {
        let tokens = ticks / self.ticks_per_token;
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

impl Rate {
    /// As many tokens a second, rounded to a millionth.
    ///
    /// # Errors
    ///
    /// When that is not from 0.000001 to 10,000,000.
    pub fn per_second(tokens: f64) -> Result<Self, QuotaFault> {
        let micros = (tokens * MICRO as f64).round();
        match (1.0..=MICROS_MAX as f64).contains(&micros) {
            true => Ok(Self {
                micros: micros as u64,
            }),
            false => Err(QuotaFault::Rate),
        }
    }

    /// The tokens of a second.
    pub fn to_f64(self) -> f64 {
        self.micros as f64 / MICRO as f64
    }
}

impl FromStr for Rate {
    type Err = QuotaFault;

    fn from_str(text: &str) -> Result<Self, QuotaFault> {
        // Not `1e3`, `inf` or `+5`.
        let is_plain = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        let tokens = text.parse().ok().filter(|_number| is_plain);
        Self::per_second(tokens.ok_or(QuotaFault::Rate)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_f64().fmt(f)
    }
}

const CAPACITY_MAX: u32 = 1_000_000_000;
const RATE_MAX: u64 = 10_000_000;
const MICRO: u128 = 1_000_000;
const MICROS_MAX: u64 = RATE_MAX * MICRO as u64;
/// So that the many processes of a fleet are exact together also where a bucket holds one token.
const DEBT_TOKENS: u64 = 64;
const FILL_SECONDS_MAX: u64 = 30 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(capacity: u32, rate: &str) -> Result<Quota, QuotaFault> {
        Quota::new(NonZeroU32::new(capacity).unwrap(), rate.parse()?)
    }

    #[test]
    fn rates_have_bounds_and_are_written_as_they_were_read() {
        for text in ["10", "0.5", "0.000001", "10000000", "333.333333"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in [
            "0",
            "0.0000001",
            "10000001",
            "-1",
            "1e3",
            "inf",
            "nan",
            "",
            ".",
            "x",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(QuotaFault::Rate), "{text}");
        }
        for number in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert_eq!(Rate::per_second(number), Err(QuotaFault::Rate), "{number}");
        }
    }

    #[test]
    fn a_bucket_fills_within_a_month() {
        assert_eq!(
            quota(30 * 86_400, "1").unwrap().fill_time().as_secs(),
            30 * 86_400
        );
        assert_eq!(quota(30 * 86_400 + 1, "1"), Err(QuotaFault::TooSlow));
        assert_eq!(quota(1, "0.000001").map(|_| ()), Ok(()));
        assert_eq!(quota(1_000_000_001, "10000000"), Err(QuotaFault::Capacity));
    }

    #[test]
    fn never_more_comes_than_the_rate_says() {
        for rate in ["3", "7.7", "999999.999999", "10000000"] {
            let quota = quota(1, rate).unwrap();
            let tokens = u128::from(quota.ticks_per_token) * u128::from(quota.rate.micros);
            assert!(tokens >= u128::from(PER_SECOND) * MICRO, "{rate}");
        }
    }
}
