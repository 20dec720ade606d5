//! Which of some backends has the least to do.

use std::num::NonZeroU16;

/// Requests in flight at a backend, seen in the light of its weight.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests in flight.
    pub in_flight: usize,
    /// Its share: twice the weight bears twice the requests.
    pub weight: NonZeroU16,
}

impl Load {
    /// Whether it is less now and would also be with one more request. Between idle backends weight
    /// does not count: for those that were drawn by weight, it has counted already.
    pub fn is_clearly_less_than(self, other: Self) -> bool {
        self.is_below(other) && self.is_less_than(other)
    }

    fn is_less_than(self, other: Self) -> bool {
        // One more request is counted on both sides, so that among idle backends weight counts.
        let next = |load: Self| Self {
            in_flight: load.in_flight.saturating_add(1),
            ..load
        };
        next(self).is_below(next(other))
    }

    fn is_below(self, other: Self) -> bool {
        let crossed = |one: Self, other: Self| {
            one.in_flight
                .saturating_mul(usize::from(other.weight.get()))
        };
        crossed(self, other) < crossed(other, self)
    }
}

/// The candidate with the least load; of equal ones the first. Costs one look at each.
pub fn least_loaded<T>(candidates: impl IntoIterator<Item = (T, Load)>) -> Option<T> {
    let lighter = |best: (T, Load), candidate: (T, Load)| {
        if candidate.1.is_less_than(best.1) {
            candidate
        } else {
            best
        }
    };
    candidates
        .into_iter()
        .reduce(lighter)
        .map(|(candidate, _)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(loads: &[(usize, u16)], expected: Option<usize>) {
        let load = |&(in_flight, weight): &(usize, u16)| Load {
            in_flight,
            weight: NonZeroU16::new(weight).unwrap(),
        };
        assert_eq!(least_loaded(loads.iter().map(load).enumerate()), expected);
    }

    #[test]
    fn the_least_loaded_wins_and_the_first_of_equals() {
        check(&[(3, 1), (1, 1), (2, 1)], Some(1));
        check(&[(1, 1), (1, 1)], Some(0));
        check(&[], None);
    }

    #[test]
    fn weight_divides_the_load() {
        check(&[(2, 1), (4, 3)], Some(1));
        check(&[(0, 1), (0, 2)], Some(1));
        check(&[(usize::MAX, 1), (usize::MAX, 1000)], Some(0));
    }

    #[test]
    fn clearly_less_is_less_before_and_after() {
        let load = |(in_flight, weight)| Load {
            in_flight,
            weight: NonZeroU16::new(weight).unwrap(),
        };
        for (one, other, expected) in [
            ((0, 8), (0, 1), false),
            ((0, 1), (1, 8), false),
            ((0, 1), (7, 8), false),
            ((0, 1), (8, 8), true),
            ((7, 8), (1, 1), true),
            ((1, 1), (2, 1), true),
            ((1, 1), (1, 1), false),
        ] {
            let is_less = load(one).is_clearly_less_than(load(other));
            assert_eq!(is_less, expected, "{one:?} {other:?}");
        }
    }
}
