//! A bound on what the heads of one HTTP/2 connection may take once they are decompressed.
//!
//! HPACK makes hundreds of bytes of one: 85 KB from a client can become 84 MiB at the backends.
//! Honest clients repeat fields, too, so what they send adds to what their heads may take.

use tokio::time::Instant;

/// The bytes of heads that a connection may still send.
#[derive(Debug)]
pub(super) struct HeaderBudget {
    bytes: u64,
    filled_at: Instant,
}

/// A connection has used up its budget.
#[derive(Debug)]
pub(super) struct Exhausted;

impl HeaderBudget {
    /// A full budget.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: BYTES_MAX,
            filled_at: now,
        }
    }

    /// Adds to the budget for bytes that the client sent.
    pub(super) fn earn(&mut self, received: u64) {
        let earned = received.saturating_mul(BYTES_PER_BYTE);
        self.bytes = self.bytes.saturating_add(earned).min(BYTES_MAX);
    }

    /// Takes the bytes of one head, as HPACK counts them (RFC 7541 section 4.1).
    ///
    /// # Errors
    ///
    /// When not so many are left.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> Result<(), Exhausted> {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let earned = elapsed
            .as_millis()
            .saturating_mul(u128::from(BYTES_PER_SECOND))
            / 1000;
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(earned).min(BYTES_MAX);
            self.filled_at = now;
        }
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Exhausted)?;
        Ok(())
    }
}

/// Some 50,000 heads of the usual size at once, and as many each second, however few bytes they
/// came in.
const BYTES_MAX: u64 = 16 << 20;
const BYTES_PER_SECOND: u64 = 16 << 20;
/// A gRPC call whose fields are all in the table has 20 times as many bytes as were sent for it.
const BYTES_PER_BYTE: u64 = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_earns_what_it_used() {
        let now = Instant::now();
        let mut budget = HeaderBudget::new(now);
        assert!(budget.take(BYTES_MAX, now).is_ok());
        assert!(budget.take(1, now).is_err());
        let later = now + Duration::from_millis(500);
        assert!(budget.take(BYTES_PER_SECOND / 2, later).is_ok());
        assert!(budget.take(1, later).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_its_heads_is_never_stopped() {
        let now = Instant::now();
        let mut budget = HeaderBudget::new(now);
        for _ in 0..1_000_000 {
            budget.earn(80);
            assert!(budget.take(350, now).is_ok());
        }
        let bomb = std::iter::repeat_with(|| {
            budget.earn(100);
            budget.take(100_000, now)
        });
        let heads = bomb.take_while(Result::is_ok).count();
        assert!((160..200).contains(&heads), "{heads}");
    }
}
