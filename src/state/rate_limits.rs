//! The limits of requests, and what clients have used of them.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use crate::{
    limit::{BucketTable, Rule, Slot, Tick, TokenBucket, one_client},
    state::Fleet,
};

/// The buckets of clients that are not registered, and what else outlives a reload. Those of
/// registered clients are in the snapshot's [`crate::limit::ClientTable`].
#[derive(Debug)]
pub struct RateLimits {
    /// When time began.
    began: Instant,
    buckets: BucketTable,
    /// Keyed anew in each process, so that a client cannot choose an address whose bucket another one has.
    hasher: RandomState,
    /// The limits that there ever were, by name; the index of each is its slot. Only the control
    /// plane looks.
    known: Mutex<Vec<(String, Arc<TokenBucket>)>>,
    fleet: Option<Fleet>,
}

/// A limit on a listener, on a route or everywhere.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What it limits.
    pub scope: Scope,
    /// Which of the limits it is.
    pub slot: Slot,
    /// What a client may do.
    pub rule: Rule,
    /// The bucket of all clients that the table has no room for.
    pub overflow: Arc<TokenBucket>,
}

/// What a limit is of: the value of the metrics' `limit` label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// All requests of a client that is not registered.
    Default,
    /// All requests of a registered client.
    Client,
    /// A listener.
    Listener,
    /// A route.
    Route,
}

impl Scope {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Default, Self::Client, Self::Listener, Self::Route];

    /// The value of the label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Client => "client",
            Self::Listener => "listener",
            Self::Route => "route",
        }
    }
}

impl RateLimits {
    /// No buckets yet, and room for a number of clients.
    pub fn new(clients_max: NonZeroU32) -> Self {
        Self {
            began: Instant::now(),
            buckets: BucketTable::new(clients_max),
            hasher: RandomState::new(),
            known: Mutex::default(),
            fleet: None,
        }
    }

    /// The same, shared with the other processes of a fleet.
    #[must_use]
    pub fn shared_by(self, fleet: Option<Fleet>) -> Self {
        Self { fleet, ..self }
    }

    /// How limits are shared with other processes; `None` where they are not.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// A moment as buckets count it.
    pub fn tick(&self, now: Instant) -> Tick {
        Tick::after(now.saturating_duration_since(self.began))
    }

    /// The limit of a name. What clients have used of it stays, whatever becomes of its rule.
    pub fn limit(&self, scope: Scope, name: &str, rule: Rule) -> Limit {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().position(|(known, _)| known == name);
        let slot = found.unwrap_or_else(|| {
            known.push((name.to_owned(), Arc::default()));
            known.len() - 1
        });
        let overflow = known.get(slot).map(|(_, bucket)| Arc::clone(bucket));
        Limit {
            scope,
            slot: Slot(slot),
            rule,
            overflow: overflow.unwrap_or_default(),
        }
    }

    /// The name of a limit.
    pub fn name(&self, slot: Slot) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(slot.0).map(|(name, _)| name.clone())
    }

    /// How many slots were given out.
    pub fn slots(&self) -> usize {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The buckets of clients that are not registered.
    pub fn buckets(&self) -> &BucketTable {
        &self.buckets
    }

    /// The key of a client's bucket. Two of a million clients share one with a chance of one in
    /// thirty million.
    pub fn key(&self, slot: Slot, address: IpAddr) -> u64 {
        self.hasher.hash_one((slot, one_client(address)))
    }
}
