//! Draws two of some backends at random, by weight.

use std::{num::NonZeroU16, ops::Range};

/// Lots for backends, which it knows by their position: as many for each as its weight says.
#[derive(Clone, Debug, Default)]
pub struct WeightedDraw {
    /// Where each one's lots end. Empty if all weigh the same: one lot each is enough then.
    ends: Box<[usize]>,
    lots: usize,
}

impl WeightedDraw {
    /// Makes the lots for these weights. Costs an addition for each.
    pub fn new(weights: impl Iterator<Item = NonZeroU16>) -> Self {
        let mut lots = 0;
        let end = |weight: NonZeroU16| {
            lots += usize::from(weight.get());
            lots
        };
        let ends: Box<[usize]> = weights.map(end).collect();
        let first = ends.first().copied().unwrap_or(0);
        let is_even = (1..).zip(&ends).all(|(count, &end)| end == count * first);
        match is_even {
            true => Self {
                lots: ends.len(),
                ends: Box::default(),
            },
            false => Self { ends, lots },
        }
    }

    /// Whether all weigh the same.
    pub fn is_even(&self) -> bool {
        self.ends.is_empty()
    }

    /// Two different positions: one by weight, and one by weight of the others. `None` where there
    /// are no two. `random` draws a number below its argument. Costs two binary searches, or
    /// nothing if all weigh the same.
    pub fn two(&self, mut random: impl FnMut(usize) -> usize) -> Option<[usize; 2]> {
        if self.lots < 2 {
            return None;
        }
        let first = self.holder(random(self.lots));
        let taken = self.lots_of(first);
        let lot = random(self.lots.checked_sub(taken.len())?);
        let lot = match lot < taken.start {
            true => lot,
            false => lot + taken.len(),
        };
        Some([first, self.holder(lot)])
    }

    fn holder(&self, lot: usize) -> usize {
        match self.is_even() {
            true => lot,
            false => self.ends.partition_point(|&end| end <= lot),
        }
    }

    fn lots_of(&self, position: usize) -> Range<usize> {
        let end_of = |position: usize| self.ends.get(position).copied();
        let start = position.checked_sub(1).and_then(end_of).unwrap_or(0);
        match end_of(position) {
            Some(end) => start..end,
            None => position..position + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(weights: &[u16]) -> WeightedDraw {
        let weights = weights
            .iter()
            .map(|&weight| NonZeroU16::new(weight).unwrap());
        WeightedDraw::new(weights)
    }

    /// Goes through all lots: each first one must come as often as its weight says, and after it
    /// each of the others.
    #[track_caller]
    fn check(weights: &[u16]) {
        let draw = draw(weights);
        let lots: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
        let mut firsts = vec![0; weights.len()];
        for first_lot in 0..lots {
            let mut seconds = vec![0; weights.len()];
            let first = draw.holder(first_lot);
            firsts[first] += 1;
            let others = lots - usize::from(weights[first]);
            for second_lot in 0..others {
                let mut drawn = [(lots, first_lot), (others, second_lot)].into_iter();
                let random = |below| {
                    let (expected, lot) = drawn.next().unwrap();
                    assert_eq!(below, expected);
                    lot
                };
                let [again, second] = draw.two(random).unwrap();
                assert_eq!(again, first);
                seconds[second] += 1;
            }
            let mut expected = weights.to_vec();
            expected[first] = 0;
            assert_eq!(seconds, expected, "after {first} of {weights:?}");
        }
        assert_eq!(firsts, weights);
    }

    #[test]
    fn each_is_drawn_as_often_as_it_weighs() {
        for weights in [
            &[1, 1, 8][..],
            &[8, 1, 1],
            &[3, 1, 7, 2, 2],
            &[1, 2],
            &[1, 1, 1],
        ] {
            check(weights);
        }
    }

    #[test]
    fn equal_weights_need_one_lot_each() {
        let mut asked = Vec::new();
        let random = |below| {
            asked.push(below);
            0
        };
        assert_eq!(draw(&[10, 10, 10]).two(random), Some([0, 1]));
        assert_eq!(asked, [3, 2]);
    }

    #[test]
    fn fewer_than_two_are_not_drawn() {
        for weights in [&[][..], &[1], &[9]] {
            assert_eq!(draw(weights).two(|_| panic!("nothing to draw")), None);
        }
    }
}
