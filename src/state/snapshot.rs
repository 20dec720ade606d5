//! The immutable settings that a request is answered by.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};

use crate::{config::Config, redirect::RedirectPolicy};

/// What a reload may change. Built whole, published whole, never changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The redirect service's part; `None` where the service is not configured.
    pub redirect: Option<RedirectSettings>,
}

/// What the redirect service answers by.
#[derive(Clone, Debug)]
pub struct RedirectSettings {
    /// The rule.
    pub policy: RedirectPolicy,
    /// Time allowed from a call's head to the end of its message.
    pub call_timeout: Duration,
}

impl Snapshot {
    /// Builds the snapshot of a configuration.
    pub fn new(config: &Config) -> Self {
        let redirect = config.redirect.as_ref().map(|redirect| RedirectSettings {
            policy: redirect.policy.clone(),
            call_timeout: redirect.call_timeout,
        });
        Self { redirect }
    }
}

/// Where the snapshot is published and loaded. Written by the control plane only.
#[derive(Debug)]
pub struct SnapshotHandle(ArcSwap<Snapshot>);

impl SnapshotHandle {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// Replaces the snapshot; requests that loaded the old one finish with it.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The current snapshot. Lock-free, some nanoseconds.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }
}
