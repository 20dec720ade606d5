//! Smooth weighted round robin, worked out beforehand.
//!
//! The order is nginx's: a backend of weight 5 among two of weight 1 is spread over its round
//! (a a b a c a a) instead of coming five times in a row. Because it is written out when
//! the available backends change, a pick is one index and no lock.

use std::num::NonZeroU16;

/// The order in which backends take turns.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Schedule(Box<[u16]>);

impl Schedule {
    /// Works out one round for backends given as their index and weight. Costs the sum of the
    /// weights, divided by what they have in common, times the number of backends.
    pub fn new(backends: &[(u16, NonZeroU16)]) -> Self {
        let weight = |&(_, weight): &(u16, NonZeroU16)| i64::from(weight.get());
        let common = backends.iter().map(weight).fold(0, greatest_common_divisor);
        let sum: i64 = backends.iter().map(weight).sum();
        // A round that is too long is shortened, at the price of small deviations.
        let divisor = common.max(sum / ROUND_MAX).max(1);
        let weight_of = |backend: &(u16, NonZeroU16)| (weight(backend) / divisor).max(1);
        let total: i64 = backends.iter().map(weight_of).sum();
        let mut credits = vec![0; backends.len()];
        let mut round = Vec::new();
        for _ in 0..total {
            for (credit, backend) in credits.iter_mut().zip(backends) {
                *credit += weight_of(backend);
            }
            // Of equal ones the first.
            let richest = (0..backends.len())
                .rev()
                .max_by_key(|&index| credits.get(index).copied());
            let Some(((index, _), credit)) =
                richest.and_then(|at| Some((*backends.get(at)?, credits.get_mut(at)?)))
            else {
                break;
            };
            *credit -= total;
            round.push(index);
        }
        Self(round.into())
    }

    /// The backend whose turn it is; `None` if there is none at all.
    pub fn at(&self, turn: u64) -> Option<u16> {
        let length = u64::try_from(self.0.len()).ok()?;
        let position = usize::try_from(turn.checked_rem(length)?).ok()?;
        self.0.get(position).copied()
    }

    /// The turns of one round.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is there to take a turn.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Turns of a round: more take long to work out.
const ROUND_MAX: i64 = 10_000;

fn greatest_common_divisor(one: i64, other: i64) -> i64 {
    if other == 0 {
        one
    } else {
        greatest_common_divisor(other, one % other)
    }
}

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
        assert_eq!(*schedule(weights).0, *expected);
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

    #[test]
    fn an_empty_set_has_no_turn() {
        assert!(schedule(&[]).is_empty());
        assert_eq!(schedule(&[]).at(0), None);
    }
}
