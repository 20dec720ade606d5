//! How a process shares its rate limits with the other processes of a fleet.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::Notify;

use crate::{
    config::OnFailure,
    limit::Quota,
    state::{
        Counter,
        usage::{Noted, SharedBucket, Usage, Used},
    },
};

/// The link to the fleet: what the workers of this process gave out, and whether the server that
/// holds the shared buckets answers. The rest is relaxed: each value stands for itself.
#[derive(Debug)]
pub struct Fleet {
    on_failure: OnFailure,
    /// Written by the control plane, read by each request that comes under a limit.
    is_up: AtomicBool,
    is_tried: AtomicBool,
    /// One a worker.
    usages: Box<[WorkerUsage]>,
    /// Says that there is something to report. Given by the workers, taken by the control plane.
    used: Notify,
    reports: AtomicU64,
    failures: AtomicU64,
    buckets: AtomicU64,
}

/// Cache-line padded, so that one worker's notes do not slow another's.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerUsage {
    usage: Usage,
    /// Written by the worker.
    unshared: Counter,
}

/// What a request's limits are worth now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// The fleet is told of what is taken.
    Shared,
    /// The server gives no answer.
    Alone(OnFailure),
}

impl Fleet {
    /// A link of a number of workers that is not up yet.
    pub fn new(on_failure: OnFailure, workers: usize) -> Self {
        Self {
            on_failure,
            is_up: AtomicBool::new(false),
            is_tried: AtomicBool::new(false),
            usages: (0..workers).map(|_| WorkerUsage::default()).collect(),
            used: Notify::new(),
            reports: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            buckets: AtomicU64::new(0),
        }
    }

    /// What limits are worth now.
    pub fn sharing(&self) -> Sharing {
        match self.is_up() {
            true => Sharing::Shared,
            false => Sharing::Alone(self.on_failure),
        }
    }

    /// Notes tokens that a worker gave out. Costs some ten nanoseconds, and a wake-up for the first
    /// note after a report.
    pub fn note(&self, worker: usize, bucket: SharedBucket, quota: Quota, tokens: u64) {
        let Some(worker) = self.usages.get(worker) else {
            return;
        };
        match worker.usage.add(bucket, quota, tokens) {
            Noted::First => self.used.notify_one(),
            Noted::Later => {}
            Noted::NoRoom => worker.unshared.increment(),
        }
    }

    /// Waits until tokens were given out.
    pub async fn used(&self) {
        self.used.notified().await;
    }

    /// Takes what all workers noted.
    pub fn take_used(&self) -> HashMap<SharedBucket, Used> {
        let mut workers = self.usages.iter().map(|worker| worker.usage.take());
        let mut all = workers.next().unwrap_or_default();
        for (bucket, used) in workers.flatten() {
            let sum = all.entry(bucket).or_insert(Used { tokens: 0, ..used });
            sum.tokens = sum.tokens.saturating_add(used.tokens);
        }
        all
    }

    /// Tokens of a bucket that were noted and not taken.
    pub fn untaken(&self, bucket: &SharedBucket) -> u64 {
        let tokens = self.usages.iter();
        tokens.map(|worker| worker.usage.tokens(bucket)).sum()
    }

    /// Notes that the server answered. Says whether it was down before.
    pub fn answered(&self) -> bool {
        self.is_tried.store(true, Ordering::Relaxed);
        !self.is_up.swap(true, Ordering::Relaxed)
    }

    /// Notes a report of some buckets that was answered.
    pub fn reported(&self, buckets: usize) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        self.buckets.fetch_add(buckets as u64, Ordering::Relaxed);
    }

    /// Notes that there was no answer. Says whether that is news.
    pub fn failed(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let is_first = !self.is_tried.swap(true, Ordering::Relaxed);
        self.is_up.swap(false, Ordering::Relaxed) || is_first
    }

    /// Whether the server gave its last answer.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Reports that were answered.
    pub fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// Reports, connections and questions that were not.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Buckets in the reports that were answered.
    pub fn buckets(&self) -> u64 {
        self.buckets.load(Ordering::Relaxed)
    }

    /// Requests whose tokens count in this process alone, since too many buckets wait to be reported.
    pub fn unshared(&self) -> u64 {
        self.usages.iter().map(|worker| worker.unshared.get()).sum()
    }
}
