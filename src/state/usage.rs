//! What one worker gave out of the buckets that a fleet shares, until the other processes know.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::limit::{Quota, Slot};

/// A bucket, as all processes of a fleet may name it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SharedBucket {
    /// A registered client's: of its own quota, or of a limit on a listener or a route.
    Registered {
        /// The client's name.
        id: Arc<str>,
        /// The limit; `None` for its own quota.
        limit: Option<Slot>,
    },
    /// Of a client that is not registered.
    Unregistered {
        /// What stands for the client: see [`crate::limit::one_client`].
        address: IpAddr,
        /// The limit.
        limit: Slot,
    },
}

/// Tokens that were given out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Used {
    /// What they were given out of.
    pub quota: Quota,
    /// How many.
    pub tokens: u64,
}

/// The tokens that one worker gave out since they were taken from here last. Written by that
/// worker; a lock, which the control plane holds for some nanoseconds now and then.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<HashMap<SharedBucket, Used>>);

/// What became of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Noted {
    /// It is the first one.
    First,
    /// Others are there.
    Later,
    /// There is no room: the tokens count in this process alone.
    NoRoom,
}

impl Usage {
    /// Notes tokens that were given out.
    pub(super) fn add(&self, bucket: SharedBucket, quota: Quota, tokens: u64) -> Noted {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = buckets.is_empty();
        let has_room = buckets.len() < BUCKETS_MAX;
        if !has_room && !buckets.contains_key(&bucket) {
            return Noted::NoRoom;
        }
        let used = buckets.entry(bucket).or_insert(Used { quota, tokens: 0 });
        *used = Used {
            quota,
            tokens: used.tokens.saturating_add(tokens),
        };
        match is_first {
            true => Noted::First,
            false => Noted::Later,
        }
    }

    /// Takes all that was noted, and leaves nothing.
    pub(super) fn take(&self) -> HashMap<SharedBucket, Used> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tokens of a bucket that were noted and not taken.
    pub(super) fn tokens(&self, bucket: &SharedBucket) -> u64 {
        let buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get(bucket).map_or(0, |used| used.tokens)
    }
}

/// Entries of a worker. Some 10 MB.
const BUCKETS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::Rate;

    fn bucket(address: u32) -> SharedBucket {
        SharedBucket::Unregistered {
            address: std::net::Ipv4Addr::from_bits(address).into(),
            limit: Slot(0),
        }
    }

    #[test]
    fn tokens_add_up_until_they_are_taken() {
        let usage = Usage::default();
        let quota = Quota::new(NonZeroU32::MIN, Rate::per_second(1.0).unwrap()).unwrap();
        assert_eq!(usage.add(bucket(1), quota, 2), Noted::First);
        assert_eq!(usage.add(bucket(1), quota, 3), Noted::Later);
        assert_eq!(usage.tokens(&bucket(1)), 5);
        assert_eq!(
            usage.take().get(&bucket(1)),
            Some(&Used { quota, tokens: 5 })
        );
        assert_eq!(usage.tokens(&bucket(1)), 0);
        assert_eq!(usage.add(bucket(1), quota, 1), Noted::First);
    }

    #[test]
    fn a_flood_of_addresses_has_a_bound() {
        let usage = Usage::default();
        let quota = Quota::new(NonZeroU32::MIN, Rate::per_second(1.0).unwrap()).unwrap();
        for address in 0..70_000 {
            usage.add(bucket(address), quota, 1);
        }
        assert_eq!(usage.add(bucket(70_000), quota, 1), Noted::NoRoom);
        assert_eq!(usage.add(bucket(0), quota, 1), Noted::Later);
        assert_eq!(usage.take().len(), BUCKETS_MAX);
    }
}
