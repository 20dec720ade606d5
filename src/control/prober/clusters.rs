//! What the probes of all upstreams know of the clusters of PostgreSQL.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::replication::Positions;

/// The positions of primaries, by the system identifiers of their clusters. Written and read by all
/// probers, which run on one thread.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Clusters(Arc<Mutex<HashMap<i64, Positions>>>);

impl Clusters {
    /// Reads or writes what is known of a cluster.
    pub(super) fn with<T>(&self, system: i64, act: impl FnOnce(&mut Positions) -> T) -> T {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clusters.len() >= CLUSTERS_MAX && !clusters.contains_key(&system) {
            clusters.clear();
        }
        act(clusters.entry(system).or_default())
    }
}

/// Clusters known at a time. A server that names another one each time cannot fill the memory.
const CLUSTERS_MAX: usize = 256;
