use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use proptest::prelude::*;

use super::*;

/// A balancer with what it is asked by.
struct Fixture {
    balancer: Balancer,
    turns: Cell<u64>,
    random: RefCell<fastrand::Rng>,
    in_flight: RefCell<HashMap<u16, usize>>,
}

const POLICIES: [Policy; 4] = [
    Policy::RoundRobin,
    Policy::LeastConnections,
    Policy::RandomTwo,
    Policy::ConsistentHash { bound_percent: 125 },
];

fn fixture(policy: Policy, weights: &[u16]) -> Fixture {
    let available = (0..).zip(
        weights
            .iter()
            .map(|&weight| NonZeroU16::new(weight).unwrap()),
    );
    without(policy, available.collect(), &[])
}

/// As above, without some that are not available but have their points on the ring.
fn without(policy: Policy, all: Vec<(u16, NonZeroU16)>, gone: &[u16]) -> Fixture {
    let addr = |index: u16| SocketAddr::new(IpAddr::from([10, 0, 0, 1]), 8000 + index);
    let ring = HashRing::new(
        all.iter()
            .map(|&(index, weight)| (index, addr(index), weight)),
    );
    let available = all.into_iter().filter(|(index, _)| !gone.contains(index));
    Fixture {
        balancer: Balancer::new(policy, available.collect(), Some(Arc::new(ring))),
        turns: Cell::new(0),
        random: RefCell::new(fastrand::Rng::with_seed(7)),
        in_flight: RefCell::default(),
    }
}

impl Fixture {
    fn pick(&self, key: &[u8], tried: &[u16]) -> Option<u16> {
        self.balancer.pick(
            key,
            || self.turns.replace(self.turns.get() + 1),
            |below| self.random.borrow_mut().usize(..below),
            |index| self.in_flight.borrow().get(&index).copied().unwrap_or(0),
            |index| tried.contains(&index),
        )
    }

    fn begin(&self, index: u16) {
        *self.in_flight.borrow_mut().entry(index).or_default() += 1;
    }

    fn picks(&self, count: usize) -> Vec<u16> {
        (0..count).map(|_| self.pick(b"", &[]).unwrap()).collect()
    }
}

#[test]
fn round_robin_takes_turns() {
    let fixture = fixture(Policy::RoundRobin, &[1, 1, 1]);
    assert_eq!(fixture.picks(6), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn tried_backends_are_passed_over_whatever_the_policy() {
    for policy in POLICIES {
        for weights in [[1, 1, 1, 1], [50, 1, 2, 3]] {
            let fixture = fixture(policy, &weights);
            for _ in 0..20 {
                assert!([2, 3].contains(&fixture.pick(b"k", &[0, 1]).unwrap()));
            }
            assert_eq!(fixture.pick(b"k", &[0, 1, 2, 3]), None);
        }
        assert_eq!(self::fixture(policy, &[]).pick(b"k", &[]), None);
        assert!(self::fixture(policy, &[]).balancer.is_empty());
    }
}

#[test]
fn least_connections_fills_the_gaps_and_equal_ones_take_turns() {
    let fixture = fixture(Policy::LeastConnections, &[1, 1, 2]);
    let mut counts = [0; 3];
    for _ in 0..8 {
        let index = fixture.pick(b"", &[]).unwrap();
        fixture.begin(index);
        counts[usize::from(index)] += 1;
    }
    assert_eq!(counts, [2, 2, 4]);
    fixture.in_flight.borrow_mut().insert(1, 1);
    assert_eq!(fixture.pick(b"", &[]), Some(1));
    let idle = self::fixture(Policy::LeastConnections, &[1, 1]);
    assert_eq!(idle.picks(4), [0, 1, 0, 1]);
}

#[test]
fn random_two_takes_the_less_loaded_of_any_two() {
    let fixture = fixture(Policy::RandomTwo, &[1, 1, 1, 1]);
    fixture.begin(2);
    let mut counts = [0; 4];
    for index in fixture.picks(6_000) {
        counts[usize::from(index)] += 1;
    }
    // The busy one never wins; the others share evenly, give or take a few standard deviations.
    assert_eq!(counts[2], 0);
    let even = |count: &usize| *count == 0 || (1_800..2_200).contains(count);
    assert!(counts.iter().all(even), "{counts:?}");
}

/// The last ones are tenths of a slow start.
#[test]
fn random_two_draws_by_weight() {
    for weights in [&[1, 1, 8][..], &[1, 8], &[1, 2, 3, 4], &[10, 10, 3]] {
        let fixture = fixture(Policy::RandomTwo, weights);
        let mut counts = vec![0.0; weights.len()];
        for index in fixture.picks(20_000) {
            counts[usize::from(index)] += 1.0;
        }
        let total: u16 = weights.iter().sum();
        for (count, &weight) in counts.iter().zip(weights) {
            let expected = 20_000.0 * f64::from(weight) / f64::from(total);
            // Four standard deviations and more.
            let deviation = (count - expected).abs();
            assert!(deviation < 4.0 * expected.sqrt(), "{weights:?} {counts:?}");
        }
    }
}

#[test]
fn random_two_levels_the_load_by_weight() {
    let fixture = fixture(Policy::RandomTwo, &[1, 1, 8]);
    for _ in 0..1_000 {
        fixture.begin(fixture.pick(b"", &[]).unwrap());
    }
    let in_flight = fixture.in_flight.borrow();
    assert!((97..=103).contains(&in_flight[&0]), "{in_flight:?}");
    assert!((97..=103).contains(&in_flight[&1]), "{in_flight:?}");
}

const BY_HASH: Policy = Policy::ConsistentHash { bound_percent: 125 };

fn keys() -> Vec<String> {
    (0..2_000).map(|key| format!("/film/{key}")).collect()
}

#[test]
fn a_hash_leads_to_the_same_backend_and_spreads_by_weight() {
    let fixture = fixture(BY_HASH, &[1, 1, 2]);
    let mut counts = [0; 3];
    for key in keys() {
        let index = fixture.pick(key.as_bytes(), &[]).unwrap();
        assert_eq!(fixture.pick(key.as_bytes(), &[]), Some(index));
        counts[usize::from(index)] += 1;
    }
    assert!(
        (350..650).contains(&counts[0]) && (800..1_200).contains(&counts[2]),
        "{counts:?}"
    );
}

/// The bound: while requests stay in flight, none has more than 125 % of its share, rounded up.
#[test]
fn one_hot_key_spills_over_at_the_bound() {
    let fixture = fixture(BY_HASH, &[1, 1, 1, 1]);
    for _ in 0..100 {
        fixture.begin(fixture.pick(b"hot", &[]).unwrap());
    }
    let in_flight = fixture.in_flight.borrow();
    assert_eq!(in_flight.values().sum::<usize>(), 100);
    assert!(
        in_flight.values().all(|&count| count <= 32),
        "{in_flight:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Removing a backend remaps only its own keys, however many there are.
    #[test]
    fn a_removed_backend_moves_only_its_own_share(count in 2..12_u16, gone in 0..12_u16) {
        let gone = gone % count;
        let all: Vec<_> = (0..count).map(|index| (index, NonZeroU16::MIN)).collect();
        let before = without(BY_HASH, all.clone(), &[]);
        let after = without(BY_HASH, all, &[gone]);
        for key in keys() {
            let (old, new) = (before.pick(key.as_bytes(), &[]), after.pick(key.as_bytes(), &[]));
            prop_assert!(old == new || old == Some(gone));
        }
    }
}
