//! The policies over the backends that are available now.

use std::{num::NonZeroU16, sync::Arc};

use crate::balance::{HashRing, Load, Policy, Schedule, WeightedDraw, least_loaded};

/// Chooses among an upstream's available backends, which it knows by their index. Immutable: it
/// is made anew when availability changes, so that a pick has nothing left to work out.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    policy: Policy,
    available: Box<[(u16, NonZeroU16)]>,
    schedule: Schedule,
    draw: WeightedDraw,
    /// Of all backends, so that it stays when availability changes.
    ring: Option<Arc<HashRing>>,
}

impl Balancer {
    /// A balancer over backends given as index and weight. `ring` is needed for consistent
    /// hashing only. Costs what [`Schedule::new`] costs for round robin.
    pub fn new(
        policy: Policy,
        available: Vec<(u16, NonZeroU16)>,
        ring: Option<Arc<HashRing>>,
    ) -> Self {
        let schedule = match policy {
            Policy::RoundRobin => Schedule::new(&available),
            Policy::LeastConnections | Policy::RandomTwo | Policy::ConsistentHash { .. } => {
                Schedule::default()
            }
        };
        let draw = match policy {
            Policy::RandomTwo => WeightedDraw::new(available.iter().map(|&(_, weight)| weight)),
            Policy::RoundRobin | Policy::LeastConnections | Policy::ConsistentHash { .. } => {
                WeightedDraw::default()
            }
        };
        Self {
            policy,
            available: available.into(),
            schedule,
            draw,
            ring,
        }
    }

    /// Whether it chooses so among these, so that a new one would be no different.
    pub fn is_over(&self, policy: Policy, available: &[(u16, NonZeroU16)]) -> bool {
        let has_ring = matches!(policy, Policy::ConsistentHash { .. });
        // The ring may differ although the indices do not.
        self.policy == policy && *self.available == *available && !has_ring
    }

    /// Whether there is nothing to choose from.
    pub fn is_empty(&self) -> bool {
        self.available.is_empty()
    }

    /// The available backends.
    pub fn available(&self) -> impl Iterator<Item = u16> {
        self.available.iter().map(|&(index, _)| index)
    }

    /// The next backend; `None` if all are passed over. `key` is what consistent hashing hashes,
    /// `turn` takes the next number of a counter, `random` draws a number below its argument,
    /// `in_flight` tells the requests at a backend, `passed_over` whether it must not be taken.
    /// Costs what the policy says.
    pub fn pick(
        &self,
        key: &[u8],
        turn: impl FnOnce() -> u64,
        random: impl FnMut(usize) -> usize,
        in_flight: impl Fn(u16) -> usize,
        passed_over: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let eligible = Eligible {
            in_flight,
            passed_over,
        };
        match self.policy {
            Policy::RoundRobin => self.next_in_turn(turn(), &eligible),
            Policy::LeastConnections => self.least_connections(turn(), &eligible),
            Policy::RandomTwo => self.random_two(turn, random, &eligible),
            Policy::ConsistentHash { bound_percent } => {
                self.by_hash(key, bound_percent, turn, &eligible)
            }
        }
    }

    fn next_in_turn<L, P>(&self, turn: u64, eligible: &Eligible<L, P>) -> Option<u16>
    where
        L: Fn(u16) -> usize,
        P: Fn(u16) -> bool,
    {
        // One turn, and from there on through the round: other requests' turns in between must
        // not lead past a backend.
        let steps = self.schedule.len().min(TURNS_MAX);
        let in_turn = (0..steps)
            .filter_map(|step| self.schedule.at(turn.wrapping_add(step)))
            .find(|&index| !(eligible.passed_over)(index));
        // Those that are left have small weights in a long round.
        in_turn.or_else(|| {
            let mut indices = self.rotated(turn).map(|&(index, _)| index);
            indices.find(|&index| !(eligible.passed_over)(index))
        })
    }

    fn least_connections<L, P>(&self, turn: u64, eligible: &Eligible<L, P>) -> Option<u16>
    where
        L: Fn(u16) -> usize,
        P: Fn(u16) -> bool,
    {
        // Looking from another place each time lets equal ones take turns.
        eligible.least_loaded(self.rotated(turn))
    }

    /// The available backends, another one first at each turn.
    fn rotated(&self, turn: u64) -> impl Iterator<Item = &(u16, NonZeroU16)> {
        let count = u64::try_from(self.available.len()).unwrap_or(0);
        let start = turn.checked_rem(count).unwrap_or(0);
        let start = usize::try_from(start).unwrap_or(0);
        let (before, after) = self.available.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before)
    }

    fn random_two<L, P>(
        &self,
        turn: impl FnOnce() -> u64,
        random: impl FnMut(usize) -> usize,
        eligible: &Eligible<L, P>,
    ) -> Option<u16>
    where
        L: Fn(u16) -> usize,
        P: Fn(u16) -> bool,
    {
        // Both would be drawn each time.
        let are_two_equal = self.available.len() <= 2 && self.draw.is_even();
        let drawn = match are_two_equal {
            true => None,
            false => self.draw.two(random),
        };
        let drawn = drawn.into_iter().flatten();
        // Where both must be passed over, the rest is looked at.
        eligible
            .better_drawn(drawn.filter_map(|position| self.available.get(position)))
            .or_else(|| self.least_connections(turn(), eligible))
    }

    fn by_hash<L, P>(
        &self,
        key: &[u8],
        bound_percent: u32,
        turn: impl FnOnce() -> u64,
        eligible: &Eligible<L, P>,
    ) -> Option<u16>
    where
        L: Fn(u16) -> usize,
        P: Fn(u16) -> bool,
    {
        let ring = self.ring.as_ref()?;
        let has_passed = |&(index, _): &(u16, NonZeroU16)| (eligible.passed_over)(index);
        if self.available.iter().all(has_passed) {
            return None;
        }
        let loads = self
            .available
            .iter()
            .map(|&(index, weight)| (eligible.load(index, weight), weight));
        let (in_flight, weights) = loads.fold((0, 0), |(in_flight, weights), (load, weight)| {
            (
                in_flight + load.in_flight,
                weights + u64::from(weight.get()),
            )
        });
        let wanted = u128::try_from(in_flight).ok()? + 1;
        let is_within_bound = |index: u16, weight: NonZeroU16| {
            let share = wanted * u128::from(weight.get()) * u128::from(bound_percent);
            let bound = share.div_ceil(100 * u128::from(weights.max(1)));
            let own = eligible.load(index, weight).in_flight;
            u128::try_from(own).is_ok_and(|own| own < bound)
        };
        let on_the_way = ring.from_key(key).take(STEPS_MAX).find(|&index| {
            let available = self.available.iter().find(|(other, _)| *other == index);
            available.is_some_and(|&(_, weight)| {
                !(eligible.passed_over)(index) && is_within_bound(index, weight)
            })
        });
        on_the_way.or_else(|| self.least_connections(turn(), eligible))
    }
}

/// Turns of a round that one request may look at before it looks at each backend once.
const TURNS_MAX: u64 = 512;

/// Points of the ring that one request may look at. Where so many in a row cannot take it, few are
/// left, and the least loaded of them does.
const STEPS_MAX: usize = 512;

/// What is known of the candidates at this moment.
struct Eligible<L, P> {
    in_flight: L,
    passed_over: P,
}

impl<L, P> Eligible<L, P>
where
    L: Fn(u16) -> usize,
    P: Fn(u16) -> bool,
{
    fn load(&self, index: u16, weight: NonZeroU16) -> Load {
        Load {
            in_flight: (self.in_flight)(index),
            weight,
        }
    }

    fn least_loaded<'a>(
        &self,
        candidates: impl Iterator<Item = &'a (u16, NonZeroU16)>,
    ) -> Option<u16> {
        least_loaded(self.loads(candidates))
    }

    /// The first, unless a later one clearly has less to do. To prefer the heavier one of two idle
    /// ones would count its weight twice: it was drawn more often, too.
    fn better_drawn<'a>(
        &self,
        candidates: impl Iterator<Item = &'a (u16, NonZeroU16)>,
    ) -> Option<u16> {
        let better =
            |first: (u16, Load), later: (u16, Load)| match later.1.is_clearly_less_than(first.1) {
                true => later,
                false => first,
            };
        self.loads(candidates)
            .reduce(better)
            .map(|(index, _)| index)
    }

    fn loads<'a>(
        &self,
        candidates: impl Iterator<Item = &'a (u16, NonZeroU16)>,
    ) -> impl Iterator<Item = (u16, Load)> {
        let eligible = candidates.filter(|&&(index, _)| !(self.passed_over)(index));
        eligible.map(|&(index, weight)| (index, self.load(index, weight)))
    }
}

#[cfg(test)]
mod tests;
