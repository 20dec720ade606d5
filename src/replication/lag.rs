//! How far a replica is behind its primary.
//!
//! The primary's position in the write-ahead log is noted each time that a probe reads it. A replica
//! lags since the first noted position that it has not replayed. So a primary that writes nothing makes
//! no replica lag, as it does where the age of the latest transaction counts.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Where the primary of one cluster was in the write-ahead log, and when.
#[derive(Debug, Default)]
pub struct Positions {
    /// The newest timeline of a primary. Servers of older ones are not the primary any more.
    timeline: u32,
    /// Each later and further than the one before; at most [`POSITIONS_MAX`].
    noted: VecDeque<(Instant, u64)>,
    /// Until when the primary counts as alive, once one was seen.
    alive_until: Option<Instant>,
}

/// What a replica says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// The position up to which it has replayed the log.
    pub replayed: u64,
    /// The age of the latest transaction that it has replayed; `None` where it has replayed none.
    pub replay_age: Option<Duration>,
    /// When it last had a connection on which the log arrives; `None` if no probe has seen one.
    pub connected_at: Option<Instant>,
}

impl Positions {
    /// Notes where a primary is. It counts as alive for as long as `alive_for`.
    pub fn note_primary(
        &mut self,
        timeline: u32,
        position: u64,
        now: Instant,
        alive_for: Duration,
    ) {
        if timeline < self.timeline {
            return;
        }
        if timeline > self.timeline {
            self.timeline = timeline;
            // What the earlier primary wrote last may be lost with it.
            self.noted.retain(|&(_, noted)| noted <= position);
        }
        self.alive_until = Some(now + alive_for);
        self.note(position, now);
    }

    /// Notes how far the log has come at a replica, which is where the primary was at least.
    pub fn note_received(&mut self, position: u64, now: Instant) {
        self.note(position, now);
    }

    /// For how long a replica has not had all that the primary wrote: since the first noted position
    /// that it has not replayed, or since it lost its connection while the primary lives. Off by one
    /// interval between probes at the most. `Duration::MAX` for a replica that was never seen connected.
    pub fn lag(&self, replica: &Replica, now: Instant) -> Duration {
        let behind = self.behind(replica, now);
        let is_connected = replica.connected_at == Some(now);
        if is_connected || !self.is_alive(now) {
            return behind;
        }
        let cut = replica
            .connected_at
            .map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        behind.max(cut)
    }

    fn behind(&self, replica: &Replica, now: Instant) -> Duration {
        let is_missing = |&(_, position): &(Instant, u64)| position > replica.replayed;
        let Some(index) = self.noted.iter().position(is_missing) else {
            return Duration::ZERO;
        };
        let since = self.noted.get(index).map_or(now, |&(at, _)| at);
        let age = now.saturating_duration_since(since);
        match index {
            // It may have been behind before the first note.
            0 => age.max(replica.replay_age.unwrap_or_default()),
            _ => age,
        }
    }

    /// Whether the primary lives, or none was ever seen, so that nothing says that it is dead.
    fn is_alive(&self, now: Instant) -> bool {
        self.alive_until.is_none_or(|until| now < until)
    }

    fn note(&mut self, position: u64, now: Instant) {
        let is_further = self.noted.back().is_none_or(|&(_, noted)| position > noted);
        if !is_further {
            return;
        }
        if self.noted.len() == POSITIONS_MAX {
            // Half of them, spread over the same time, tell nearly the same.
            let mut is_kept = false;
            self.noted.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.noted.push_back((now, position));
    }
}

/// Positions kept of one cluster: 16 KiB.
const POSITIONS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn connected(replayed: u64, now: Instant) -> Replica {
        Replica {
            replayed,
            replay_age: Some(600 * SECOND),
            connected_at: Some(now),
        }
    }

    #[test]
    fn an_idle_primary_makes_no_lag() {
        let begin = now();
        let mut positions = Positions::default();
        for second in 0..600 {
            positions.note_primary(1, 100, begin + second * SECOND, 5 * SECOND);
        }
        let now = begin + 600 * SECOND;
        assert_eq!(positions.lag(&connected(100, now), now), Duration::ZERO);
    }

    #[test]
    fn a_replica_lags_since_the_first_position_that_it_has_not_replayed() {
        let begin = now();
        let mut positions = Positions::default();
        for second in 0..10 {
            let position = u64::from(second) * 100;
            positions.note_primary(1, position, begin + second * SECOND, 5 * SECOND);
        }
        let now = begin + 10 * SECOND;
        assert_eq!(positions.lag(&connected(900, now), now), Duration::ZERO);
        assert_eq!(positions.lag(&connected(350, now), now), 6 * SECOND);
    }

    /// Weir has just started, and the replica has stood still for long.
    #[test]
    fn a_replica_that_was_behind_before_the_first_note_lags_by_its_own_word() {
        let now = now();
        let mut positions = Positions::default();
        positions.note_primary(1, 1000, now, 5 * SECOND);
        assert_eq!(positions.lag(&connected(900, now), now), 600 * SECOND);
    }

    #[test]
    fn a_replica_without_a_connection_lags_while_the_primary_lives() {
        let begin = now();
        let now = begin + 4 * SECOND;
        let cut = |connected_at| Replica {
            replayed: 100,
            replay_age: None,
            connected_at,
        };
        let mut positions = Positions::default();
        assert_eq!(positions.lag(&cut(Some(begin)), now), 4 * SECOND);
        positions.note_primary(1, 100, begin, 5 * SECOND);
        assert_eq!(positions.lag(&cut(Some(begin)), now), 4 * SECOND);
        assert_eq!(positions.lag(&cut(None), now), Duration::MAX);
        // The primary is dead: nothing newer is known than what the replica has.
        let later = now + SECOND;
        assert_eq!(positions.lag(&cut(None), later), Duration::ZERO);
    }

    #[test]
    fn an_old_primary_tells_nothing_after_a_promotion() {
        let begin = now();
        let mut positions = Positions::default();
        positions.note_primary(1, 500, begin, 5 * SECOND);
        // What it wrote last has reached no replica.
        positions.note_primary(2, 400, begin + SECOND, 5 * SECOND);
        positions.note_primary(1, 9000, begin + 2 * SECOND, 5 * SECOND);
        let now = begin + 3 * SECOND;
        assert_eq!(positions.lag(&connected(400, now), now), Duration::ZERO);
    }

    #[test]
    fn a_long_history_is_bounded_and_still_tells_the_lag() {
        let begin = now();
        let mut positions = Positions::default();
        for second in 0..10_000_u32 {
            positions.note_primary(1, u64::from(second), begin + second * SECOND, SECOND);
        }
        assert!(positions.noted.len() <= POSITIONS_MAX);
        let now = begin + 10_000 * SECOND;
        let lag = positions.lag(&connected(5000, now), now);
        assert!(lag > 4800 * SECOND && lag <= 5000 * SECOND, "{lag:?}");
    }
}
