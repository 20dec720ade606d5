//! A few buckets side by side in memory, found by their keys. Lock-free but for the first request of
//! a client.

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
use std::{num::NonZeroU32, sync::PoisonError, time::Duration};

use crate::limit::{
    Quota, Refusal, Tick,
    token_bucket::{missing, step, tokens},
};

/// The buckets of keys that fall together.
///
/// A bucket that is full holds nothing to remember, so its slot may be claimed for another key. A
/// claim changes `full_at` first, to [`CLAIMED`], then the key, then `full_at` again, to a later
/// time than before. So a thread that reads `full_at`, then finds its key, and then changes `full_at`
/// from what it read, has changed its own bucket.
#[derive(Debug, Default)]
#[repr(align(256))]
pub(super) struct BucketSet {
    /// Held while a thread claims a slot, so that a key never gets two. For some ten nanoseconds.
    claims: Mutex<()>,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    /// As in [`crate::limit::TokenBucket`]; 0 where no key ever was.
    full_at: AtomicU64,
    key: AtomicU64,
}

/// There is no slot for the key.
#[derive(Debug)]
pub(super) struct NoSlot;

impl BucketSet {
    /// Takes tokens from a key's bucket, which begins full if it is not there.
    pub(super) fn take(
        &self,
        key: u64,
        quota: &Quota,
        cost: NonZeroU32,
        now: Tick,
    ) -> Result<Result<(), Refusal>, NoSlot> {
        loop {
            let take = |slot: &Slot| slot.take(key, quota, cost, now);
            if let Some(verdict) = self.slots.iter().find_map(take) {
                return Ok(verdict);
            }
            let _claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have been faster, also with the same key.
            let is_there = self.slots.iter().any(|slot| slot.is_of(key));
            if !is_there && !self.claim(key, now) {
                return Err(NoSlot);
            }
        }
    }

    /// Gives a slot to a key. False if all are in use.
    fn claim(&self, key: u64, now: Tick) -> bool {
        self.slots.iter().any(|slot| slot.claim(key, now))
    }

    /// Sets the time until a key's bucket is full, in place of what was taken here. Does nothing where
    /// there is no slot for the key.
    pub(super) fn set_missing(&self, key: u64, missing: Duration, now: Tick) {
        let full_at = now.plus(missing).0;
        if self.set_full_at(key, full_at) || missing.is_zero() {
            return;
        }
        let _claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = self.slots.iter().any(|slot| slot.is_of(key));
        if is_there || self.claim(key, now) {
            self.set_full_at(key, full_at);
        }
    }

    /// False if the key has no slot.
    fn set_full_at(&self, key: u64, full_at: u64) -> bool {
        self.slots.iter().any(|slot| slot.set_full_at(key, full_at))
    }

    /// Time until a key's bucket is full.
    pub(super) fn missing(&self, key: u64, now: Tick) -> Duration {
        let slot = self.slots.iter().find(|slot| slot.is_of(key));
        let full_at = slot.map(|slot| slot.full_at.load(Ordering::Relaxed));
        missing(full_at.filter(|&at| at != CLAIMED).unwrap_or(0), now)
    }

    /// Gives tokens back.
    pub(super) fn refund(&self, key: u64, quota: &Quota, cost: NonZeroU32) {
        let ticks = quota.ticks_of(cost);
        for slot in &self.slots {
            let mut full_at = slot.full_at.load(Ordering::Acquire);
            while full_at != CLAIMED && slot.key.load(Ordering::Acquire) == key {
                let next = full_at.saturating_sub(ticks);
                match slot.swap(full_at, next) {
                    Ok(_) => return,
                    Err(current) => full_at = current,
                }
            }
        }
    }

    /// Whole tokens that are left in a key's bucket.
    pub(super) fn tokens(&self, key: u64, quota: &Quota, now: Tick) -> u32 {
        let full_at = self.slots.iter().find_map(|slot| {
            let full_at = slot.full_at.load(Ordering::Acquire);
            (slot.is_of(key) && full_at != CLAIMED).then_some(full_at)
        });
        tokens(full_at.unwrap_or(0), quota, now)
    }

    /// Buckets that are not full.
    pub(super) fn count(&self, now: Tick) -> usize {
        let is_live = |slot: &&Slot| slot.full_at.load(Ordering::Relaxed) > now.0;
        self.slots.iter().filter(is_live).count()
    }
}

impl Slot {
    fn is_of(&self, key: u64) -> bool {
        self.key.load(Ordering::Acquire) == key
    }

    /// `None` if the slot is another key's.
    fn take(
        &self,
        key: u64,
        quota: &Quota,
        cost: NonZeroU32,
        now: Tick,
    ) -> Option<Result<(), Refusal>> {
        let mut full_at = self.full_at.load(Ordering::Acquire);
        loop {
            if full_at == CLAIMED || !self.is_of(key) {
                return None;
            }
            let (next, verdict) = step(full_at, quota, cost, now);
            // Also where nothing changes: it shows that the slot was the key's all the time.
            match self.swap(full_at, next) {
                Ok(_) => return Some(verdict),
                Err(current) => full_at = current,
            }
        }
    }

    /// False if the slot is another key's.
    fn set_full_at(&self, key: u64, next: u64) -> bool {
        let mut full_at = self.full_at.load(Ordering::Acquire);
        while full_at != CLAIMED && self.is_of(key) {
            match self.swap(full_at, next) {
                Ok(_) => return true,
                Err(current) => full_at = current,
            }
        }
        false
    }

    /// Gives the slot to a key if its bucket is full. Called by one thread of a set at a time.
    fn claim(&self, key: u64, now: Tick) -> bool {
        let full_at = self.full_at.load(Ordering::Acquire);
        if full_at >= now.0.max(1) || self.swap(full_at, CLAIMED).is_err() {
            return false;
        }
        self.key.store(key, Ordering::Release);
        self.full_at.store(now.0.max(1), Ordering::Release);
        true
    }

    fn swap(&self, from: u64, to: u64) -> Result<u64, u64> {
        self.full_at
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// A set is four cache lines of 64 bytes.
#[cfg(not(loom))]
pub(super) const SLOTS: usize = 15;
/// As few as show what must hold, since each makes more orders to check.
#[cfg(loom)]
pub(super) const SLOTS: usize = 2;
/// Of a slot that is being given to another key.
const CLAIMED: u64 = u64::MAX;
