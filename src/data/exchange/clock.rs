//! Until when an exchange may wait, and whose fault it is if it waits longer. Reads no clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Upstream;

/// The time limits of one exchange.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Limits {
    pub(super) queue: Duration,
    pub(super) connect: Duration,
    pub(super) response: Duration,
    /// Without any progress while the backend has to act, or the client has to send.
    pub(super) upstream_idle: Duration,
    /// Without any progress while the client has to read.
    pub(super) client_idle: Duration,
    pub(super) total: Option<Duration>,
    /// Bytes a second that a client must send or take, averaged over [`RATE_TIME`].
    pub(super) client_rate: Option<u32>,
}

impl Limits {
    /// The limits of an upstream and of client connections.
    pub(super) fn new(
        upstream: &Upstream,
        client_idle: Duration,
        client_rate: Option<u32>,
    ) -> Self {
        Self {
            queue: upstream.queue.timeout,
            connect: upstream.connect_timeout,
            response: upstream.response_timeout,
            upstream_idle: upstream.idle_timeout,
            client_idle,
            total: upstream.total_timeout,
            client_rate,
        }
    }
}

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wait {
    /// A backend that may take one more request.
    Queue,
    /// A connection to the backend.
    Connect,
    /// More of the request's body from the client.
    Upload,
    /// The backend, to take more of the request.
    Delivery,
    /// The head of the response.
    Response,
    /// More of the response's body from the backend.
    Download,
    /// The client, to take more of the response.
    Client,
}

/// Which limit an exchange has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// The limit of what it waits for.
    Wait(Wait),
    /// The client sends or takes too few bytes a second.
    ClientRate,
    /// The limit of the exchange as a whole.
    Total,
}

/// The clock of one exchange.
#[derive(Debug)]
pub(super) struct Clock {
    limits: Limits,
    began: Instant,
    /// When anything last moved, in either direction, or another wait began.
    moved_at: Instant,
    wait: Wait,
    rate: Option<RateMeter>,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            began: now,
            moved_at: now,
            wait: Wait::Connect,
            rate: limits.client_rate.map(RateMeter::new),
            limits,
        }
    }

    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Notes that an attempt, or a wait that has its own time, begins.
    pub(super) fn restart(&mut self, now: Instant) {
        self.moved_at = now;
    }

    /// Notes that bytes of a body came from the client, or went to it.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        self.moved_at = now;
        if let Some(rate) = &mut self.rate {
            rate.moved(bytes, now);
        }
    }

    /// Notes what the exchange waits for now.
    pub(super) fn waits_for(&mut self, wait: Wait, now: Instant) {
        self.wait = wait;
        if let Some(rate) = &mut self.rate {
            match wait {
                Wait::Upload | Wait::Client => rate.waits(now),
                Wait::Queue | Wait::Connect | Wait::Delivery | Wait::Response | Wait::Download => {
                    rate.rests(now);
                }
            }
        }
    }

    /// When the exchange may wait no longer.
    pub(super) fn due(&self) -> Instant {
        self.next().0
    }

    /// Which limit has passed, if one has.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let (due, overdue) = self.next();
        (due <= now).then_some(overdue)
    }

    fn next(&self) -> (Instant, Overdue) {
        let limits = &self.limits;
        let limit = match self.wait {
            Wait::Queue => limits.queue,
            Wait::Connect => limits.connect,
            Wait::Upload | Wait::Download => limits.upstream_idle,
            Wait::Delivery => limits.response.max(limits.upstream_idle),
            Wait::Response => limits.response,
            Wait::Client => limits.client_idle,
        };
        let wait = (self.moved_at + limit, Overdue::Wait(self.wait));
        let rate = self.rate.as_ref().and_then(RateMeter::due);
        let rate = rate.map(|due| (due, Overdue::ClientRate));
        let total = limits
            .total
            .map(|total| (self.began + total, Overdue::Total));
        let all = [Some(wait), rate, total].into_iter().flatten();
        all.min_by_key(|(due, _)| *due).unwrap_or(wait)
    }
}

/// Whether a client that is waited for keeps up a least rate: a balance that its bytes fill and
/// that time empties, as long as the exchange waits for it. IIS and Kestrel have the same rule.
#[derive(Debug)]
struct RateMeter {
    bytes_per_second: u32,
    /// Bytes that the client is ahead.
    balance: u64,
    waits_since: Option<Instant>,
}

impl RateMeter {
    fn new(bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second,
            balance: full_balance(bytes_per_second),
            waits_since: None,
        }
    }

    fn moved(&mut self, bytes: usize, now: Instant) {
        self.settle(now);
        let balance = self.balance.saturating_add(bytes as u64);
        self.balance = balance.min(full_balance(self.bytes_per_second));
    }

    fn waits(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    fn rests(&mut self, now: Instant) {
        self.settle(now);
        self.waits_since = None;
    }

    fn settle(&mut self, now: Instant) {
        let Some(since) = &mut self.waits_since else {
            return;
        };
        let waited = now.saturating_duration_since(*since);
        let owed = waited.as_millis() * u128::from(self.bytes_per_second) / 1000;
        let owed = u64::try_from(owed).unwrap_or(u64::MAX);
        // What is too short to owe a byte counts the next time.
        if owed > 0 {
            *since = now;
            self.balance = self.balance.saturating_sub(owed);
        }
    }

    fn due(&self) -> Option<Instant> {
        let rate = u64::from(self.bytes_per_second.max(1));
        let left = Duration::from_millis(self.balance.saturating_mul(1000) / rate);
        Some(self.waits_since? + left)
    }
}

fn full_balance(bytes_per_second: u32) -> u64 {
    u64::from(bytes_per_second) * RATE_TIME.as_secs()
}

/// Over which time a client's rate is averaged.
const RATE_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        queue: Duration::from_secs(1),
        connect: Duration::from_secs(5),
        response: Duration::from_secs(50),
        upstream_idle: Duration::from_secs(60),
        client_idle: Duration::from_secs(75),
        total: None,
        client_rate: None,
    };

    fn after(began: Instant, seconds: f64) -> Instant {
        began + Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_limit_since_the_last_progress() {
        let began = Instant::now();
        for (wait, limit) in [
            (Wait::Queue, 1.0),
            (Wait::Connect, 5.0),
            (Wait::Upload, 60.0),
            (Wait::Delivery, 60.0),
            (Wait::Response, 50.0),
            (Wait::Download, 60.0),
            (Wait::Client, 75.0),
        ] {
            let mut clock = Clock::new(LIMITS, began);
            clock.moved(1, after(began, 3.0));
            clock.waits_for(wait, after(began, 4.0));
            assert_eq!(clock.overdue(after(began, limit + 2.9)), None, "{wait:?}");
            let overdue = clock.overdue(after(began, limit + 3.0));
            assert_eq!(overdue, Some(Overdue::Wait(wait)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_ends_what_still_moves() {
        let total = Some(Duration::from_secs(10));
        let began = Instant::now();
        let mut clock = Clock::new(Limits { total, ..LIMITS }, began);
        clock.waits_for(Wait::Download, began);
        clock.moved(1000, after(began, 9.9));
        assert_eq!(clock.due(), after(began, 10.0));
        assert_eq!(clock.overdue(clock.due()), Some(Overdue::Total));
    }

    fn with_rate() -> (Clock, Instant) {
        let began = Instant::now();
        let client_rate = Some(240);
        (
            Clock::new(
                Limits {
                    client_rate,
                    ..LIMITS
                },
                began,
            ),
            began,
        )
    }

    /// One byte a second is progress, and yet a stall.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_stalled() {
        for wait in [Wait::Upload, Wait::Client] {
            let (mut clock, began) = with_rate();
            clock.waits_for(wait, began);
            let stalled = (1..60).find(|&second| {
                let now = after(began, f64::from(second));
                let is_stalled = clock.overdue(now) == Some(Overdue::ClientRate);
                clock.moved(1, now);
                clock.waits_for(wait, now);
                is_stalled
            });
            assert!((30..=31).contains(&stalled.unwrap()), "{stalled:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_at_the_least_rate_goes_on() {
        let (mut clock, began) = with_rate();
        for second in 0..600 {
            let now = after(began, f64::from(second));
            clock.moved(240, now);
            clock.waits_for(Wait::Upload, now);
            assert_eq!(clock.overdue(now), None, "after {second} s");
        }
    }

    /// While the backend is waited for, the client owes nothing.
    #[tokio::test(start_paused = true)]
    async fn a_slow_backend_is_no_slow_client() {
        let (mut clock, began) = with_rate();
        clock.waits_for(Wait::Upload, began);
        clock.waits_for(Wait::Delivery, after(began, 20.0));
        clock.moved(0, after(began, 70.0));
        clock.waits_for(Wait::Upload, after(began, 70.0));
        assert_eq!(clock.overdue(after(began, 79.9)), None);
        assert_eq!(clock.overdue(after(began, 80.0)), Some(Overdue::ClientRate));
    }
}
