//! How many connections each client address has open.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::limit::one_client;

/// The open connections of each client address, over all workers. Empty where there is no limit.
/// A locked table: it is touched at accept and at close, never by a request. It holds no more
/// entries than there are connections.
#[derive(Debug)]
pub struct ClientConnections {
    /// 0 for no limit. Written by the control plane, read by every accept loop; relaxed, as it
    /// stands for itself.
    limit: AtomicUsize,
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    /// Keyed anew in each process, so that nobody can choose addresses that meet in one shard.
    hasher: RandomState,
}

impl ClientConnections {
    /// A table for a limit; `None` for no limit.
    pub fn new(limit: Option<NonZeroUsize>) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit.map_or(0, usize::from)),
            shards: Default::default(),
            hasher: RandomState::new(),
        })
    }

    /// Changes the limit. Connections that were accepted without one are not counted.
    pub fn limit_to(&self, limit: Option<NonZeroUsize>) {
        let limit = limit.map_or(0, usize::from);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts a connection; `None` if the client has as many as it may. Costs nothing without a
    /// limit, else a lock that is hardly ever held.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<ClientPlace> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return Some(ClientPlace(None));
        }
        let client = one_client(address);
        let mut shard = self
            .shard(client)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(ClientPlace(Some((Arc::clone(self), client))))
    }

    fn leave(&self, client: IpAddr) {
        let mut shard = self
            .shard(client)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = shard.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]
    fn shard(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let hash = self.hasher.hash_one(client) % SHARDS as u64;
        &self.shards[hash as usize]
    }
}

/// A counted connection of a client; given back when it is dropped.
#[derive(Debug)]
pub struct ClientPlace(Option<(Arc<ClientConnections>, IpAddr)>);

impl Drop for ClientPlace {
    fn drop(&mut self) {
        if let Some((clients, client)) = self.0.take() {
            clients.leave(client);
        }
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_limit_and_gets_places_back() {
        let clients = ClientConnections::new(NonZeroUsize::new(2));
        let first = clients.enter(ip("10.0.0.1"));
        let second = clients.enter(ip("::ffff:10.0.0.1"));
        assert!(first.is_some() && second.is_some());
        assert!(clients.enter(ip("10.0.0.1")).is_none());
        assert!(clients.enter(ip("10.0.0.2")).is_some());
        drop(first);
        assert!(clients.enter(ip("10.0.0.1")).is_some());
    }

    #[test]
    fn a_host_cannot_multiply_by_its_ipv6_addresses() {
        let clients = ClientConnections::new(NonZeroUsize::new(1));
        let _place = clients.enter(ip("2001:db8::1")).unwrap();
        assert!(clients.enter(ip("2001:db8::2")).is_none());
        assert!(clients.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn those_who_left_leave_nothing() {
        let clients = ClientConnections::new(NonZeroUsize::new(1));
        drop(clients.enter(ip("10.0.0.1")));
        let entries = clients
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len());
        assert_eq!(entries.sum::<usize>(), 0);
    }
}
