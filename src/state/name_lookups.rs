//! How looking up backends' names went.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Failed look-ups of each host. Written and read by the control plane. Holds no more entries than
/// there ever were names in the configuration.
#[derive(Debug, Default)]
pub struct NameLookups(Mutex<HashMap<String, u64>>);

impl NameLookups {
    /// Counts a look-up that found nothing.
    pub fn failed(&self, host: &str) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(host.to_owned()).or_default() += 1;
    }

    /// Look-ups of a host that found nothing.
    pub fn failures(&self, host: &str) -> u64 {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(host).copied().unwrap_or(0)
    }
}
