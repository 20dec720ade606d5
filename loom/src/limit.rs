//! The buckets, as `crate::limit` has them in Weir.

#[path = "../../src/limit/bucket_set.rs"]
mod bucket_set;
#[path = "../../src/limit/quota.rs"]
mod quota;
#[path = "../../src/limit/tick.rs"]
mod tick;
#[path = "../../src/limit/token_bucket.rs"]
mod token_bucket;

pub use quota::{Quota, QuotaFault, Rate};
pub use tick::Tick;
pub use token_bucket::{Refusal, TokenBucket};

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use loom::{sync::Arc, thread};

    use super::{Quota, Rate, Tick, TokenBucket, bucket_set::BucketSet};

    fn quota(capacity: u32) -> Quota {
        let rate = Rate::per_second(0.001).unwrap();
        Quota::new(NonZeroU32::new(capacity).unwrap(), rate).unwrap()
    }

    fn at(seconds: u64) -> Tick {
        Tick::after(Duration::from_secs(seconds))
    }

    #[test]
    fn threads_share_one_bucket() {
        loom::model(|| {
            let bucket = Arc::new(TokenBucket::default());
            let takes = (0..2).map(|_| {
                let bucket = Arc::clone(&bucket);
                thread::spawn(move || {
                    let take = || bucket.take(&quota(2), NonZeroU32::MIN, at(1)).is_ok();
                    usize::from(take()) + usize::from(take())
                })
            });
            let takes: Vec<_> = takes.collect();
            let taken: usize = takes.into_iter().map(|take| take.join().unwrap()).sum();
            assert_eq!(taken, 2);
        });
    }

    /// Two requests of a new client at the same moment find one bucket, and not two.
    #[test]
    fn a_new_client_gets_one_slot() {
        loom::model(|| {
            let set = Arc::new(BucketSet::default());
            let takes = (0..2).map(|_| {
                let set = Arc::clone(&set);
                thread::spawn(move || {
                    let taken = set.take(7, &quota(1), NonZeroU32::MIN, at(1)).unwrap();
                    usize::from(taken.is_ok())
                })
            });
            let takes: Vec<_> = takes.collect();
            let taken: usize = takes.into_iter().map(|take| take.join().unwrap()).sum();
            assert_eq!(taken, 1);
        });
    }

    /// While a slot goes from a client whose bucket is full to another one, neither pays for the
    /// other.
    #[test]
    fn a_slot_changes_hands() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let set = Arc::new(BucketSet::default());
            // Far enough back that it is full again.
            set.take(1, &quota(1), NonZeroU32::MIN, at(1))
                .unwrap()
                .unwrap();
            let takes = [1, 2].map(|key| {
                let set = Arc::clone(&set);
                thread::spawn(move || {
                    let taken = set
                        .take(key, &quota(1), NonZeroU32::MIN, at(5_000))
                        .unwrap();
                    assert!(taken.is_ok(), "{key}");
                })
            });
            takes.into_iter().for_each(|take| take.join().unwrap());
            for key in [1, 2] {
                let again = set
                    .take(key, &quota(1), NonZeroU32::MIN, at(5_000))
                    .unwrap();
                assert!(again.is_err(), "{key}");
            }
        });
    }
}
