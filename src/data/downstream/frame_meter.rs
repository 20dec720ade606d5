//! Counts the frames of an HTTP/2 client that serve no purpose.
//!
//! PINGs, their unsolicited acknowledgements, SETTINGS, PRIORITY and unknown frames cost a client
//! some bytes and this side a parse, an answer or a line in the log. `h2` bounds the answers that
//! wait, not their number (CVE-2019-9512, -9513, -9515). Reads only the nine bytes of each frame's
//! head, and decides nothing about the protocol: that is `h2`'s.
//!
//! Busy clients send such frames too: grpc-go measures its bandwidth with a PING each round trip in
//! which it received data, and browsers set the priority of each request. Requests and the bytes of
//! responses therefore add to what a client may send.

use tokio::time::Instant;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameMeter {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// What is left of the current frame's payload.
    payload_left: usize,
    /// Purposeless frames that the client may still send.
    budget: u32,
    filled_at: Instant,
    /// Bytes sent that have not added to the budget.
    bytes_sent: usize,
}

/// A client has sent more purposeless frames than it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Flooded;

impl FrameMeter {
    /// A meter behind the connection preface.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            payload_left: 0,
            budget: BUDGET,
            filled_at: now,
            bytes_sent: 0,
        }
    }

    /// Adds to the budget for bytes sent to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        let bytes = self.bytes_sent.saturating_add(bytes);
        self.bytes_sent = bytes % BYTES_PER_FRAME;
        self.earn(u32::try_from(bytes / BYTES_PER_FRAME).unwrap_or(u32::MAX));
    }

    /// Follows the next bytes. Costs a step for each frame in them.
    ///
    /// # Errors
    ///
    /// When the client has used up its budget.
    pub(super) fn follow(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flooded> {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let length = self.payload_left.min(bytes.len());
                self.payload_left -= length;
                bytes = bytes.get(length..).unwrap_or_default();
                continue;
            }
            let free = self.head.get_mut(self.head_bytes..).unwrap_or_default();
            let length = free.len().min(bytes.len());
            let (start, rest) = bytes.split_at(length);
            for (slot, byte) in free.iter_mut().zip(start) {
                *slot = *byte;
            }
            self.head_bytes += length;
            bytes = rest;
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Instant) -> Result<(), Flooded> {
        let [high, middle, low, kind, ..] = self.head;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS => {
                self.earn(1);
                Ok(())
            }
            DATA | RST_STREAM | GOAWAY | WINDOW_UPDATE | CONTINUATION => Ok(()),
            _purposeless => self.charge(now),
        }
    }

    fn charge(&mut self, now: Instant) -> Result<(), Flooded> {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs();
        if elapsed > 0 {
            let earned = u32::try_from(elapsed)
                .unwrap_or(u32::MAX)
                .saturating_mul(PER_SECOND);
            self.earn(earned);
            self.filled_at = now;
        }
        self.budget = self.budget.checked_sub(1).ok_or(Flooded)?;
        Ok(())
    }

    fn earn(&mut self, frames: u32) {
        self.budget = self.budget.saturating_add(frames).min(BUDGET);
    }
}

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const BUDGET: u32 = 1000;
const PER_SECOND: u32 = 100;
/// A PING's answer has 17 bytes, so a flood of PINGs earns half of what it costs. The shortest
/// response and that answer have more than this.
const BYTES_PER_FRAME: usize = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let head = [0, 0, length, kind, 0, 0, 0, 0, 0];
        [&head[..], &vec![6; usize::from(length)]].concat()
    }

    const PING: u8 = 6;

    #[tokio::test(start_paused = true)]
    async fn only_purposeless_frames_cost() {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        let useful = [frame(DATA, 100), frame(HEADERS, 3), frame(WINDOW_UPDATE, 4)].concat();
        for _ in 0..10_000 {
            // Split anywhere.
            for part in useful.chunks(7) {
                assert_eq!(meter.follow(part, now), Ok(()));
            }
        }
        for _ in 0..BUDGET {
            assert_eq!(meter.follow(&frame(PING, 8), now), Ok(()));
        }
        let later = now + Duration::from_secs(1);
        for _ in 0..PER_SECOND {
            assert_eq!(meter.follow(&frame(4, 0), later), Ok(()));
        }
        assert_eq!(meter.follow(&frame(PING, 8), later), Err(Flooded));
    }

    /// A regression test: grpc-go, which sends a PING each round trip, was cut after a second.
    #[tokio::test(start_paused = true)]
    async fn a_busy_client_may_send_a_ping_for_each_response() {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        for _ in 0..100_000 {
            assert_eq!(meter.follow(&frame(PING, 8), now), Ok(()));
            meter.sent(17 + 20);
        }
        // Their answers alone do not pay for a flood of PINGs.
        let mut flood = (0..10 * BUDGET).map(|_| {
            meter.sent(17);
            meter.follow(&frame(PING, 8), now)
        });
        assert!(flood.any(|followed| followed == Err(Flooded)));
    }
}
