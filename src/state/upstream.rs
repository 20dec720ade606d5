//! Upstreams as a snapshot has them, and what lives on beside it for each backend.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    balance::{Load, Policy, Schedule, least_loaded},
    config::{self, BackendAddr},
    health::Health,
};

/// A named group of backends, with those folded into the schedule that may take requests now.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// All its backends.
    pub backends: Arc<[Arc<Backend>]>,
    /// Time to connect to a backend.
    pub connect_timeout: Duration,
    /// Time until a response's head.
    pub response_timeout: Duration,
    /// Time that a body may stand still.
    pub idle_timeout: Duration,
    policy: Policy,
    available: Arc<[u16]>,
    schedule: Schedule,
    cursor: Arc<Cursor>,
}

/// The round-robin position of an upstream, one for the process: positions of each worker's own
/// would not be round robin. Written by every worker; relaxed, as each number must come out
/// once and orders nothing else.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cursor(AtomicU64);

/// One address that takes requests. Outlives snapshots.
#[derive(Debug)]
#[repr(align(128))]
pub struct Backend {
    /// Which one it is among all backends of the process.
    pub id: usize,
    /// Where it is.
    pub addr: BackendAddr,
    weight: NonZeroU16,
    /// What happened to requests that it was picked for.
    pub stats: BackendStats,
}

/// Counts of one backend. Written by every worker, read at the scrape.
#[derive(Debug, Default)]
pub struct BackendStats {
    responses: AtomicU64,
    failures: AtomicU64,
    in_flight: AtomicUsize,
    /// Written by the health checker alone.
    unhealthy: AtomicBool,
}

impl BackendStats {
    /// The verdict of its checks.
    pub fn health(&self) -> Health {
        match self.unhealthy.load(Ordering::Relaxed) {
            true => Health::Unhealthy,
            false => Health::Healthy,
        }
    }

    /// Notes a verdict; the next snapshot acts on it.
    pub fn set_health(&self, health: Health) {
        self.unhealthy
            .store(health == Health::Unhealthy, Ordering::Relaxed);
    }

    /// Counts a request that begins.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts its end.
    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a response head.
    pub fn responded(&self) {
        self.responses.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt that got none.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Response heads.
    pub fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed)
    }

    /// Attempts without one.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Requests that began and did not end.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Upstream {
    /// Builds an upstream whose backends are ids `first_id` and following. Those without health
    /// checks are available, the others wait for their first probe.
    pub fn new(config: &config::Upstream, first_id: usize) -> Self {
        let backends = config.backends.iter().zip(first_id..).map(|(backend, id)| {
            Arc::new(Backend {
                id,
                addr: backend.addr.clone(),
                weight: backend.weight,
                stats: BackendStats::default(),
            })
        });
        let upstream = Self {
            name: config.name.as_str().into(),
            backends: backends.collect(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            policy: config.policy,
            available: Arc::default(),
            schedule: Schedule::default(),
            cursor: Arc::default(),
        };
        let start = match config.health_check {
            Some(_) => Health::Unhealthy,
            None => Health::Healthy,
        };
        for backend in upstream.backends.iter() {
            backend.stats.set_health(start);
        }
        upstream.with_health(|_| start)
    }

    /// The same upstream with other backends available. The round-robin position stays.
    #[must_use]
    pub fn with_health(&self, health: impl Fn(usize) -> Health) -> Self {
        let available: Vec<(u16, NonZeroU16)> = (0..)
            .zip(self.backends.iter())
            .filter(|(_, backend)| health(backend.id) == Health::Healthy)
            .map(|(index, backend)| (index, backend.weight))
            .collect();
        Self {
            schedule: Schedule::new(&available),
            available: available.iter().map(|&(index, _)| index).collect(),
            ..self.clone()
        }
    }

    /// The next backend by the upstream's policy, passing over those that were `tried`. `None` if
    /// none is left. `random` draws a number below its argument. Costs what the policy says.
    pub fn pick(
        &self,
        tried: &[usize],
        random: impl FnMut(usize) -> usize,
    ) -> Option<&Arc<Backend>> {
        match self.policy {
            Policy::RoundRobin => self.next_in_turn(tried),
            Policy::LeastConnections => self.least_connections(tried),
            Policy::RandomTwo => self.random_two(tried, random),
        }
    }

    fn next_in_turn(&self, tried: &[usize]) -> Option<&Arc<Backend>> {
        // One turn, and from there on through the round: other requests' turns in between must
        // not lead past a backend.
        let turn = self.turn();
        let round = u64::try_from(self.schedule.len()).unwrap_or(0);
        (0..round)
            .filter_map(|step| self.schedule.at(turn.wrapping_add(step)))
            .filter_map(|index| self.backends.get(usize::from(index)))
            .find(|backend| !tried.contains(&backend.id))
    }

    fn least_connections(&self, tried: &[usize]) -> Option<&Arc<Backend>> {
        // Looking from another place each time lets equal ones take turns.
        let start = usize::try_from(self.turn())
            .unwrap_or(0)
            .checked_rem(self.available.len())?;
        let (before, after) = self.available.split_at_checked(start)?;
        least_loaded(self.untried(after.iter().chain(before), tried))
    }

    fn random_two(
        &self,
        tried: &[usize],
        mut random: impl FnMut(usize) -> usize,
    ) -> Option<&Arc<Backend>> {
        let count = self.available.len();
        if count <= 2 || !tried.is_empty() {
            return self.least_connections(tried);
        }
        let first = random(count);
        // Another than the first, each with the same chance.
        let second = (first + 1 + random(count - 1)) % count;
        let drawn = [first, second]
            .into_iter()
            .filter_map(|index| self.available.get(index));
        least_loaded(self.untried(drawn, tried))
    }

    fn untried<'a>(
        &'a self,
        indices: impl Iterator<Item = &'a u16>,
        tried: &[usize],
    ) -> impl Iterator<Item = (&'a Arc<Backend>, Load)> {
        indices
            .filter_map(|&index| self.backends.get(usize::from(index)))
            .filter(|backend| !tried.contains(&backend.id))
            .map(|backend| {
                let load = Load {
                    in_flight: backend.stats.in_flight(),
                    weight: backend.weight,
                };
                (backend, load)
            })
    }

    fn turn(&self) -> u64 {
        self.cursor.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::config::WeightedBackend;

    fn first(_below: usize) -> usize {
        0
    }

    fn upstream(weights: &[u16]) -> Upstream {
        upstream_with(Policy::RoundRobin, weights)
    }

    fn upstream_with(policy: Policy, weights: &[u16]) -> Upstream {
        let backends = (0..).zip(weights).map(|(port, &weight)| WeightedBackend {
            addr: BackendAddr {
                host: "h".to_owned(),
                port,
            },
            weight: NonZeroU16::new(weight).unwrap(),
        });
        let config = config::Upstream {
            name: "app".to_owned(),
            policy,
            backends: backends.collect(),
            health_check: None,
            connect_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
        };
        Upstream::new(&config, 10)
    }

    fn picks(upstream: &Upstream, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| upstream.pick(&[], first).unwrap().id)
            .collect()
    }

    #[test]
    fn backends_take_turns() {
        assert_eq!(picks(&upstream(&[1, 1, 1]), 6), [10, 11, 12, 10, 11, 12]);
    }

    #[test]
    fn unhealthy_and_tried_backends_are_passed_over() {
        let upstream = upstream(&[1, 1, 1]).with_health(|id| {
            if id == 11 {
                Health::Unhealthy
            } else {
                Health::Healthy
            }
        });
        assert_eq!(picks(&upstream, 4), [10, 12, 10, 12]);
        for _ in 0..4 {
            assert_eq!(upstream.pick(&[10], first).unwrap().id, 12);
        }
        assert!(upstream.pick(&[10, 12], first).is_none());
    }

    #[test]
    fn an_empty_set_gives_none() {
        let upstream = upstream(&[1]).with_health(|_| Health::Unhealthy);
        assert!(upstream.pick(&[], first).is_none());
    }

    #[test]
    fn turns_are_exact_under_concurrency() {
        let upstream = upstream(&[1, 1, 1]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..3_000 {
                        upstream.pick(&[], first).unwrap().stats.responded();
                    }
                });
            }
        });
        let responses: Vec<u64> = upstream
            .backends
            .iter()
            .map(|backend| backend.stats.responses())
            .collect();
        assert_eq!(responses, [4_000, 4_000, 4_000]);
    }

    #[test]
    fn least_connections_fills_the_gaps_and_equal_ones_take_turns() {
        let upstream = upstream_with(Policy::LeastConnections, &[1, 1, 2]);
        let mut counts = [0; 3];
        for _ in 0..8 {
            let backend = upstream.pick(&[], first).unwrap();
            backend.stats.begin();
            counts[backend.id - 10] += 1;
        }
        assert_eq!(counts, [2, 2, 4]);
        upstream.backends[1].stats.end();
        assert_eq!(upstream.pick(&[], first).unwrap().id, 11);
        assert_ne!(upstream.pick(&[11], first).unwrap().id, 11);
        assert!(upstream.pick(&[10, 11, 12], first).is_none());
        let idle = upstream_with(Policy::LeastConnections, &[1, 1]);
        assert_eq!(picks(&idle, 4), [10, 11, 10, 11]);
    }

    #[test]
    fn random_two_takes_the_less_loaded_of_any_two() {
        let upstream = upstream_with(Policy::RandomTwo, &[1, 1, 1, 1]);
        upstream.backends[2].stats.begin();
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = [0; 4];
        for _ in 0..6_000 {
            let backend = upstream.pick(&[], |below| random.usize(..below)).unwrap();
            counts[backend.id - 10] += 1;
        }
        // The busy one never wins; the others share evenly, give or take a few standard deviations.
        assert_eq!(counts[2], 0);
        assert!(
            counts
                .iter()
                .all(|&count| count == 0 || (1_800..2_200).contains(&count)),
            "{counts:?}"
        );
        assert!(
            upstream_with(Policy::RandomTwo, &[1])
                .pick(&[10], first)
                .is_none()
        );
    }

    #[test]
    fn no_policy_finds_a_backend_where_none_is_available() {
        for policy in [
            Policy::RoundRobin,
            Policy::LeastConnections,
            Policy::RandomTwo,
        ] {
            let upstream = upstream_with(policy, &[1, 1, 1]).with_health(|_| Health::Unhealthy);
            assert!(upstream.pick(&[], first).is_none());
            assert!(upstream_with(policy, &[]).pick(&[], first).is_none());
        }
    }
}
