//! Which backends an upstream has, and who probes them.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use crate::{
    config::{self, AdminState, BackendAddr, WeightedBackend},
    control::{
        prober::Prober,
        upstreams::{BackendRecord, Upstreams, primaries::Standing},
    },
    health::Health,
    state::{Backend, Member, Upstream},
};

impl Upstreams {
    pub(super) fn with_members(
        &mut self,
        old: Option<&Upstream>,
        settings: Arc<config::Upstream>,
    ) -> Upstream {
        // A connection that other authorities vouched for must not be kept.
        let old_members = old.filter(|old| old.settings.tls == settings.tls);
        let old_members = old_members.map(|old| Arc::clone(&old.members));
        let upstream = match old {
            Some(old) => old.with_settings(settings),
            None => {
                self.upstreams_ever += 1;
                Upstream::new(self.upstreams_ever, settings, self.shared.workers().len())
            }
        };
        let mut members = Vec::new();
        for configured in &upstream.settings.backends {
            for addr in self.names.addrs(&configured.addr) {
                let is_same = |member: &&Member| {
                    member.backend.name == configured.addr && member.backend.addr == addr
                };
                let known = old_members
                    .as_ref()
                    .and_then(|old| old.iter().find(is_same));
                let backend = match known {
                    Some(member) => Arc::clone(&member.backend),
                    None => self.new_backend(&upstream, &configured.addr, addr),
                };
                self.check(&upstream, configured, &backend);
                members.push(Member {
                    backend,
                    weight: configured.weight,
                    admin_state: configured.admin_state,
                    is_backup: configured.is_backup,
                });
            }
        }
        if let Some(old) = old_members.filter(|_| members.is_empty()) {
            // Its names are not known yet: what they stood for before serves on. A backend that the
            // configuration does not name any more goes.
            let is_named = |member: &&Member| {
                let configured = &upstream.settings.backends;
                configured
                    .iter()
                    .any(|named| named.addr == member.backend.name)
            };
            members.extend(old.iter().filter(is_named).cloned());
        }
        members.truncate(MEMBERS_MAX);
        upstream.with_members(members)
    }

    pub(super) fn new_backend(
        &mut self,
        upstream: &Upstream,
        name: &BackendAddr,
        addr: SocketAddr,
    ) -> Arc<Backend> {
        self.backends_ever += 1;
        let queue = Arc::clone(&upstream.queue);
        Arc::new(Backend::new(self.backends_ever, name.clone(), addr, queue))
    }

    /// Starts, stops or restarts a backend's prober.
    pub(super) fn check(
        &mut self,
        upstream: &Upstream,
        configured: &WeightedBackend,
        backend: &Arc<Backend>,
    ) {
        let wanted = upstream.settings.health_check.as_ref();
        let is_disabled = configured.admin_state == AdminState::Disabled;
        let check = wanted.filter(|_| !is_disabled).cloned();
        let record = self
            .records
            .entry(backend.id)
            .or_insert_with(BackendRecord::new);
        if record.prober.is_some() && record.check == check {
            return;
        }
        if let Some(prober) = record.prober.take() {
            prober.abort();
        }
        record.check.clone_from(&check);
        (record.primary, record.standing) = (None, Standing::Unopposed);
        let Some(check) = check else {
            // Without checks it counts as healthy; disabled, it is not asked.
            record.health = match wanted {
                None => Health::Healthy,
                Some(_) => Health::Unhealthy,
            };
            // Checks that come later go on from there.
            (record.probed, record.known) = (true, wanted.is_none());
            backend.stats.set_health(record.health);
            return;
        };
        if !record.known {
            (record.health, record.probed) = (Health::Unhealthy, false);
            backend.stats.set_health(record.health);
        }
        let prober = Prober {
            upstream: upstream.clone(),
            backend: Arc::clone(backend),
            check,
            known: record.known.then_some(record.health),
            verdicts: self.verdict_sender.clone(),
            places: Arc::clone(&self.probe_places),
            clusters: self.clusters.clone(),
        };
        record.prober = Some(tokio::spawn(prober.run()).abort_handle());
    }

    pub(super) fn forget_all_but(&mut self, upstreams: &[Upstream]) {
        let members = upstreams
            .iter()
            .flat_map(|upstream| upstream.members.iter());
        let ids: HashSet<usize> = members.map(|member| member.backend.id).collect();
        self.records.retain(|id, _| ids.contains(id));
        self.primaries
            .retain(|&id, _| upstreams.iter().any(|upstream| upstream.id == id));
    }
}

/// Backends of one upstream, as many as an index can tell apart.
const MEMBERS_MAX: usize = 1 << 16;
