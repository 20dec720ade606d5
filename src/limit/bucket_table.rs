//! The buckets of clients that are not registered: as many as come, within a bound.

use std::{num::NonZeroU32, sync::OnceLock, time::Duration};

use crate::limit::{
    Quota, Refusal, Tick, TokenBucket,
    bucket_set::{BucketSet, NoSlot, SLOTS},
};

/// Buckets by key, in memory that is bounded and is taken as clients come: 35 bytes for each of the
/// clients that there is room for. A bucket that is full again gives its place to the next client.
/// Where all places of a key are taken by others, as for one client in 200 once there are as many
/// as there is room for, the client shares one bucket with all such clients.
#[derive(Debug)]
pub struct BucketTable {
    segments: Box<[OnceLock<Box<Segment>>]>,
    sets: u64,
}

/// Sets whose memory is taken together.
#[derive(Debug, Default)]
struct Segment([BucketSet; SEGMENT_SETS]);

/// Whether a client had a bucket of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// It had.
    Own,
    /// The table had no room for it, and it took from the bucket for such clients.
    Shared,
}

impl BucketTable {
    /// An empty table for a number of clients that have buckets at a time.
    pub fn new(clients_max: NonZeroU32) -> Self {
        let sets = (u64::from(clients_max.get()) * PLACES_PER_CLIENT).div_ceil(SLOTS as u64);
        let segments = sets.div_ceil(SEGMENT_SETS as u64);
        Self {
            segments: (0..segments).map(|_| OnceLock::new()).collect(),
            sets,
        }
    }

    /// Takes tokens from the bucket of a key, which must be a hash that clients cannot choose. Costs
    /// a cache miss or two and a compare-and-swap.
    pub fn take(
        &self,
        key: u64,
        quota: &Quota,
        cost: NonZeroU32,
        now: Tick,
        overflow: &TokenBucket,
    ) -> (Room, Result<(), Refusal>) {
        match self.set(key).take(key_of(key), quota, cost, now) {
            Ok(verdict) => (Room::Own, verdict),
            Err(NoSlot) => (Room::Shared, overflow.take(quota, cost, now)),
        }
    }

    /// Gives tokens back that were taken for a request which another limit refused.
    pub fn refund(&self, key: u64, quota: &Quota, cost: NonZeroU32) {
        self.set(key).refund(key_of(key), quota, cost);
    }

    /// Whole tokens that are left in the bucket of a key.
    pub fn tokens(&self, key: u64, quota: &Quota, now: Tick) -> u32 {
        self.set(key).tokens(key_of(key), quota, now)
    }

    /// Time until the bucket of a key is full.
    pub fn missing(&self, key: u64, now: Tick) -> Duration {
        self.set(key).missing(key_of(key), now)
    }

    /// Sets the time until the bucket of a key is full, in place of what was taken here. Does nothing
    /// where the table has no room for the key.
    pub fn set_missing(&self, key: u64, missing: Duration, now: Tick) {
        self.set(key).set_missing(key_of(key), missing, now);
    }

    /// Buckets that are not full. Reads the whole table.
    pub fn count(&self, now: Tick) -> usize {
        let segments = self.segments.iter().filter_map(OnceLock::get);
        segments
            .flat_map(|segment| &segment.0)
            .map(|set| set.count(now))
            .sum()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a hash times a number, divided by 2^64, is below the number"
    )]
    fn set(&self, key: u64) -> &BucketSet {
        let set = (u128::from(key) * u128::from(self.sets)) >> 64;
        let (segment, set) = (set as usize / SEGMENT_SETS, set as usize % SEGMENT_SETS);
        let segment = self.segments[segment].get_or_init(Box::default);
        &segment.0[set]
    }
}

/// Key 0 marks a slot that was never used.
fn key_of(hash: u64) -> u64 {
    hash.max(1)
}

/// With as many clients as there is room for, half of the places are in use, and one set in 200 has
/// too few.
const PLACES_PER_CLIENT: u64 = 2;
const SEGMENT_SETS: usize = 16;

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::limit::Rate;

    fn quota(capacity: u32, rate: f64) -> Quota {
        let rate = Rate::per_second(rate).unwrap();
        Quota::new(NonZeroU32::new(capacity).unwrap(), rate).unwrap()
    }

    fn table(clients_max: u32) -> BucketTable {
        BucketTable::new(NonZeroU32::new(clients_max).unwrap())
    }

    fn at(millis: u64) -> Tick {
        Tick::after(Duration::from_millis(millis))
    }

    /// A hash as a keyed hash function would give it.
    fn hash(client: u64) -> u64 {
        xorshift(client.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1))
    }

    fn xorshift(mut x: u64) -> u64 {
        x ^= x >> 30;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    #[test]
    fn each_client_has_its_own_bucket() {
        let (table, quota, overflow) = (table(1_000), quota(3, 1.0), TokenBucket::default());
        for client in 0..500 {
            let take = || table.take(hash(client), &quota, NonZeroU32::MIN, at(5), &overflow);
            let verdicts: Vec<_> = (0..5).map(|_| take()).collect();
            assert!(verdicts.iter().all(|(room, _)| *room == Room::Own));
            assert_eq!(
                verdicts
                    .iter()
                    .filter(|(_, verdict)| verdict.is_ok())
                    .count(),
                3
            );
            assert_eq!(table.tokens(hash(client), &quota, at(5)), 0);
        }
        assert_eq!(table.count(at(5)), 500);
        assert_eq!(table.count(at(3_005)), 0);
    }

    #[test]
    fn with_as_many_clients_as_there_is_room_for_nearly_all_have_their_own() {
        let (table, quota, overflow) = (table(100_000), quota(10, 1.0), TokenBucket::default());
        let is_shared = |client: &u64| {
            let (room, _) = table.take(hash(*client), &quota, NonZeroU32::MIN, at(5), &overflow);
            room == Room::Shared
        };
        let shared = (0..100_000).filter(is_shared).count();
        assert!(shared < 1_000, "{shared}");
    }

    #[test]
    fn a_flood_of_addresses_shares_one_bucket_and_then_leaves_room() {
        let (table, quota, overflow) = (table(100), quota(10, 1.0), TokenBucket::default());
        let take = |client, now| table.take(hash(client), &quota, NonZeroU32::MIN, now, &overflow);
        let admitted = (0..100_000).filter(|client| {
            let (room, verdict) = take(*client, at(5));
            room == Room::Shared && verdict.is_ok()
        });
        assert_eq!(admitted.count(), 10);
        // Each had used one token, which has come back.
        assert_eq!(take(200_000, at(1_100)), (Room::Own, Ok(())));
    }

    #[test]
    fn a_refund_undoes_a_take() {
        let (table, quota, overflow) = (table(100), quota(1, 1.0), TokenBucket::default());
        let take = || table.take(7, &quota, NonZeroU32::MIN, at(5), &overflow).1;
        assert!(take().is_ok() && take().is_err());
        table.refund(7, &quota, NonZeroU32::MIN);
        assert!(take().is_ok() && take().is_err());
    }

    #[test]
    fn a_bucket_is_set_to_what_others_say() {
        let (table, quota, overflow) = (table(100), quota(3, 1.0), TokenBucket::default());
        let take = || table.take(7, &quota, NonZeroU32::MIN, at(5), &overflow).1;
        table.set_missing(7, Duration::from_secs(2), at(5));
        assert_eq!(table.missing(7, at(5)), Duration::from_secs(2));
        assert!(take().is_ok() && take().is_err());
        table.set_missing(7, Duration::ZERO, at(5));
        assert_eq!(table.missing(7, at(5)), Duration::ZERO);
        assert!(take().is_ok());
        // A full bucket takes no place.
        table.set_missing(8, Duration::ZERO, at(5));
        assert_eq!(table.count(at(5)), 1);
    }

    /// Clients come at the same moment from many threads, and slots change hands: none gets more
    /// than its bucket holds.
    #[test]
    fn threads_that_come_first_at_the_same_time_share_one_bucket() {
        const THREADS: usize = 8;
        let quota = quota(4, 0.001);
        for round in 0..200 {
            let shared = Arc::new((table(8), TokenBucket::default(), Barrier::new(THREADS)));
            let admitted: Arc<Vec<AtomicUsize>> =
                Arc::new((0..12).map(|_| AtomicUsize::default()).collect());
            let threads = (0..THREADS).map(|_| {
                let (shared, admitted) = (Arc::clone(&shared), Arc::clone(&admitted));
                thread::spawn(move || {
                    let (table, overflow, barrier) = &*shared;
                    barrier.wait();
                    for (client, admitted) in admitted.iter().enumerate() {
                        let key = hash(client as u64 + round);
                        let (_, verdict) =
                            table.take(key, &quota, NonZeroU32::MIN, at(9), overflow);
                        admitted.fetch_add(usize::from(verdict.is_ok()), Ordering::Relaxed);
                    }
                })
            });
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            for admitted in admitted.iter() {
                assert_eq!(admitted.load(Ordering::Relaxed), 4);
            }
        }
    }

    proptest! {
        /// The table gives what a map of buckets without bounds would.
        #[test]
        fn agrees_with_a_map(requests in vec((0_u64..40, 0_u64..400), 1..400)) {
            let (table, quota, overflow) = (table(64), quota(3, 5.0), TokenBucket::default());
            let mut map = std::collections::HashMap::<u64, TokenBucket>::new();
            let mut now = 1;
            for (client, pause) in requests {
                now += pause;
                let expected = map.entry(client).or_default().take(&quota, NonZeroU32::MIN, at(now));
                let verdict = table.take(hash(client), &quota, NonZeroU32::MIN, at(now), &overflow);
                prop_assert_eq!(verdict, (Room::Own, expected));
            }
        }
    }
}
