//! Rates of counters, from one look to the next.

use std::{collections::HashMap, hash::Hash};

use tokio::time::{Duration, Instant};

/// What counters had at the last look, by their keys.
#[derive(Debug)]
pub(super) struct Meter<K> {
    last_at: Option<Instant>,
    /// The time from the look before to this one.
    elapsed: Duration,
    last: HashMap<K, u64>,
    now: HashMap<K, u64>,
}

impl<K> Default for Meter<K> {
    fn default() -> Self {
        Self {
            last_at: None,
            elapsed: Duration::ZERO,
            last: HashMap::new(),
            now: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Meter<K> {
    /// Begins a look. What the look before did not ask for is forgotten.
    pub(super) fn begin(&mut self, now: Instant) {
        self.elapsed = self.last_at.map_or(Duration::ZERO, |last| now - last);
        self.last_at = Some(now);
        std::mem::swap(&mut self.last, &mut self.now);
        self.now.clear();
    }

    /// What a counter rose by each second since the last look; 0 at the first one.
    pub(super) fn per_second(&mut self, key: K, count: u64) -> f64 {
        let before = self.last.get(&key).copied();
        self.now.insert(key, count);
        let rise = before.map_or(0, |before| count.saturating_sub(before));
        match self.elapsed.is_zero() {
            true => 0.0,
            false => rise as f64 / self.elapsed.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_the_time_that_has_passed() {
        let begin = Instant::now();
        let mut meter = Meter::default();
        meter.begin(begin);
        assert_eq!(meter.per_second("a", 100), 0.0);
        meter.begin(begin + Duration::from_secs(2));
        assert_eq!(meter.per_second("a", 140), 20.0);
        // What is new has no rate yet, whatever it has counted.
        assert_eq!(meter.per_second("b", 1000), 0.0);
        meter.begin(begin + Duration::from_secs(3));
        assert_eq!(meter.per_second("b", 1001), 1.0);
        // A counter that began anew.
        meter.begin(begin + Duration::from_secs(4));
        assert_eq!(meter.per_second("b", 3), 0.0);
    }
}
