//! Weighted round robin, worked out beforehand, so that a pick needs no lock.
//!
//! Where it can be written out cheaply, the order is nginx's smooth one: a backend of weight 5 among
//! two of weight 1 is spread over its round (a a b a c a a) instead of coming five times in a row.
//! Where that would take long (nginx's order costs turns × backends), turns go round a circle of
//! all weights in strides near the golden section: each backend gets exactly its weight of any
//! round, too, at nearly even distances (the three-distance theorem, Sós 1958).

use std::num::NonZeroU16;

use crate::balance::greatest_common_divisor;

/// The order in which backends take turns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule(Order);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Order {
    /// One whole round.
    Written(Box<[u16]>),
    /// Backends with the end of their part of the circle.
    Circle {
        ends: Box<[(u64, u16)]>,
        stride: u64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self(Order::Written(Box::default()))
    }
}

impl Schedule {
    /// Works out a round for backends given as their index and weight. Costs at most
    /// 262,144 steps, or one for each backend.
    pub fn new(backends: &[(u16, NonZeroU16)]) -> Self {
        let weight = |&(_, weight): &(u16, NonZeroU16)| u64::from(weight.get());
        let common = backends.iter().map(weight).fold(0, greatest_common_divisor);
        let parts: Vec<(u16, u64)> = backends
            .iter()
            .map(|backend| (backend.0, weight(backend) / common.max(1)))
            .collect();
        let turns: u64 = parts.iter().map(|&(_, part)| part).sum();
        let work = u64::try_from(parts.len()).map(|backends| backends.saturating_mul(turns));
        match work.is_ok_and(|work| work <= WORK_MAX) {
            true => Self(Order::Written(written(&parts, turns))),
            false => Self(circle(&parts, turns)),
        }
    }

    /// The backend whose turn it is; `None` if there is none at all. Costs a division, and in a
    /// circle a binary search.
    pub fn at(&self, turn: u64) -> Option<u16> {
        let position = turn.checked_rem(self.len())?;
        match &self.0 {
            Order::Written(round) => round.get(usize::try_from(position).ok()?).copied(),
            Order::Circle { ends, stride } => {
                // Both are below 2^32: there are at most 2^16 backends of a weight below 2^16.
                let place = position * stride % self.len();
                let index = ends.partition_point(|&(end, _)| end <= place);
                ends.get(index).map(|&(_, backend)| backend)
            }
        }
    }

    /// The turns of one round.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Order::Written(round) => u64::try_from(round.len()).unwrap_or(0),
            Order::Circle { ends, .. } => ends.last().map_or(0, |&(end, _)| end),
        }
    }

    /// Whether nobody is there to take a turn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// nginx's order.
fn written(parts: &[(u16, u64)], turns: u64) -> Box<[u16]> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut credits = vec![0; parts.len()];
    let mut round = Vec::new();
    for _ in 0..turns {
        for (credit, &(_, part)) in credits.iter_mut().zip(parts) {
            *credit += signed(part);
        }
        // Of equal ones the first.
        let richest = (0..parts.len())
            .rev()
            .max_by_key(|&index| credits.get(index).copied());
        let Some(((backend, _), credit)) =
            richest.and_then(|at| Some((*parts.get(at)?, credits.get_mut(at)?)))
        else {
            break;
        };
        *credit -= signed(turns);
        round.push(backend);
    }
    round.into()
}

fn circle(parts: &[(u16, u64)], turns: u64) -> Order {
    let mut end = 0;
    let ends = parts.iter().map(|&(backend, part)| {
        end += part;
        (end, backend)
    });
    let ends = ends.collect();
    Order::Circle {
        ends,
        stride: stride_of(turns),
    }
}

/// A stride near the golden section that has nothing in common with the circle, so that it meets every
/// place once, and of those the one whose distances are the most even: they are the more so the
/// smaller the quotients of the continued fraction of stride and circle are.
fn stride_of(turns: u64) -> u64 {
    let golden = (turns * 618 / 1000).max(1);
    let near = golden.saturating_sub(STRIDES_TRIED).max(1)..=golden + STRIDES_TRIED;
    near.filter(|&stride| greatest_common_divisor(stride, turns) == 1)
        .min_by_key(|&stride| (largest_quotient(turns, stride), stride.abs_diff(golden)))
        .unwrap_or(1)
}

/// The largest quotient of a continued fraction.
fn largest_quotient(mut one: u64, mut other: u64) -> u64 {
    let mut largest = 0;
    while other != 0 {
        largest = largest.max(one / other);
        (one, other) = (other, one % other);
    }
    largest
}

/// Strides on either side of the golden section that are looked at.
const STRIDES_TRIED: u64 = 64;

/// Steps that a round may take to write out: about a millisecond.
const WORK_MAX: u64 = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(weights: &[u16]) -> Schedule {
        let weights = weights
            .iter()
            .map(|&weight| NonZeroU16::new(weight).unwrap());
        Schedule::new(&(0..).zip(weights).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(weights: &[u16], expected: &[u16]) {
        assert_eq!(schedule(weights).0, Order::Written(expected.into()));
    }

    #[test]
    fn equal_weights_take_turns() {
        check(&[1, 1, 1], &[0, 1, 2]);
        check(&[7, 7], &[0, 1]);
        check(&[3], &[0]);
    }

    #[test]
    fn heavier_backends_are_spread_over_the_round() {
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        check(&[2, 4], &[1, 0, 1]);
    }

    #[test]
    fn each_backend_gets_its_weight_of_any_round() {
        let weights = [3, 1, 7, 2, 2];
        let schedule = schedule(&weights);
        for start in [0, 5, 1_000_003] {
            let mut counts = [0; 5];
            for turn in start..start + 15 {
                counts[usize::from(schedule.at(turn).unwrap())] += 1;
            }
            assert_eq!(counts, weights);
        }
    }

    /// A round too long to be written out is as exact, wherever it begins.
    #[test]
    fn a_long_round_is_exact_and_spread() {
        let mut weights = vec![1000; 40];
        weights.push(1);
        let schedule = schedule(&weights);
        assert!(matches!(schedule.0, Order::Circle { .. }));
        assert_eq!(schedule.len(), 40_001);
        for start in [0, 12_345] {
            let mut counts = vec![0; weights.len()];
            let mut last = vec![start; weights.len()];
            for turn in start..start + schedule.len() {
                let backend = usize::from(schedule.at(turn).unwrap());
                counts[backend] += 1;
                let distance = turn - std::mem::replace(&mut last[backend], turn);
                assert!(
                    backend == 40 || distance <= 120,
                    "{backend} after {distance}"
                );
            }
            assert_eq!(counts, weights);
        }
    }

    /// No backend waits for more than a few times its even share of turns, whatever the total.
    #[test]
    fn a_long_round_starves_nobody() {
        let mut uneven = vec![100; 199];
        uneven.push(99);
        let mut random = fastrand::Rng::with_seed(3);
        let mut rounds = vec![uneven];
        rounds.extend((0..20).map(|_| (0..50).map(|_| random.u16(1..=1000)).collect()));
        for weights in rounds {
            let schedule = schedule(&weights);
            let mut last = vec![0; weights.len()];
            for turn in 0..2 * schedule.len() {
                let backend = usize::from(schedule.at(turn).unwrap());
                let distance = turn - std::mem::replace(&mut last[backend], turn);
                let even = schedule.len() / u64::from(weights[backend]);
                assert!(
                    distance <= 4 * even + 4,
                    "{backend} of {weights:?} after {distance}"
                );
            }
        }
    }

    #[test]
    fn a_thousand_weights_cost_a_step_each() {
        let weights: Vec<u16> = (1..=1000).collect();
        let schedule = schedule(&weights);
        let Order::Circle { ends, .. } = &schedule.0 else {
            panic!("it would take {} steps to write out", 500_500 * 1000);
        };
        assert_eq!((ends.len(), schedule.len()), (1000, 500_500));
    }

    #[test]
    fn an_empty_set_has_no_turn() {
        assert!(schedule(&[]).is_empty());
        assert_eq!(schedule(&[]).at(0), None);
    }
}
