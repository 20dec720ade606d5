//! Upstreams as a snapshot has them.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls::{ClientConfig, RootCertStore};

use crate::{
    balance::{Balancer, HashRing, Policy},
    config::{self, AdminState, Scheme, WhenAllDown},
    retry::RetryBudget,
    state::{Backend, Queue, ResponseStats, SessionStats},
};

/// A named group of backends, with those folded into the balancer that may take requests now.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Which one it is among all that the process ever had. Stays over reloads.
    pub id: usize,
    /// What the operator wants of it.
    pub settings: Arc<config::Upstream>,
    /// All its backends.
    pub members: Arc<[Member]>,
    /// Where requests wait for a backend that may take one more. Stays over reloads.
    pub queue: Arc<Queue>,
    /// How many retries it may cause, for all workers. Stays over reloads.
    pub retry_budget: Arc<RetryBudget>,
    /// How `https://` backends are spoken to; `None` without such backends.
    pub tls: Option<Arc<ClientConfig>>,
    balancer: Arc<Balancer>,
    ring: Option<Arc<HashRing>>,
    cursor: Arc<Cursor>,
    /// One for each worker. Stays over reloads.
    responses: Arc<[ResponseStats]>,
    /// One for each worker. Stays over reloads.
    sessions: Arc<[SessionStats]>,
    is_unprobed: bool,
}

/// A backend and its place in an upstream.
#[derive(Clone, Debug)]
pub struct Member {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its share.
    pub weight: NonZeroU16,
    /// What the operator wants of it.
    pub admin_state: AdminState,
    /// Whether it is there only for the time when none of the others is available.
    pub is_backup: bool,
}

/// The round-robin position of an upstream, one for the process: positions of each worker's own
/// would not be round robin. Written by every worker; relaxed, as each number must come out
/// once and orders nothing else.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cursor(AtomicU64);

/// What a pick came to.
#[derive(Clone, Copy, Debug)]
pub enum Pick<'a> {
    /// This one is next.
    Backend(&'a Arc<Backend>),
    /// All that are left have as many requests in flight as they may.
    Busy,
    /// None is left.
    NoneLeft,
}

impl Upstream {
    /// An upstream of which nothing is available yet, for this number of workers.
    pub fn new(id: usize, settings: Arc<config::Upstream>, workers: usize) -> Self {
        let speaks_tls = settings
            .backends
            .iter()
            .any(|backend| backend.addr.scheme == Scheme::Https);
        Self {
            id,
            tls: speaks_tls.then(|| Arc::new(tls(&settings.tls))),
            settings,
            members: Arc::default(),
            queue: Arc::default(),
            retry_budget: Arc::default(),
            balancer: Arc::default(),
            ring: None,
            cursor: Arc::default(),
            responses: (0..workers).map(|_| ResponseStats::default()).collect(),
            sessions: (0..workers).map(|_| SessionStats::default()).collect(),
            is_unprobed: false,
        }
    }

    /// What a worker has counted of the responses.
    ///
    /// # Panics
    ///
    /// If there is no worker of that index, which only our own start could get wrong.
    #[expect(
        clippy::indexing_slicing,
        reason = "indices are given out by `app` alone"
    )]
    pub fn responses(&self, worker: usize) -> &ResponseStats {
        &self.responses[worker]
    }

    /// What all workers have counted of the responses.
    pub fn all_responses(&self) -> &[ResponseStats] {
        &self.responses
    }

    /// What a worker has counted of the sessions.
    ///
    /// # Panics
    ///
    /// As [`Upstream::responses`].
    #[expect(
        clippy::indexing_slicing,
        reason = "indices are given out by `app` alone"
    )]
    pub fn sessions(&self, worker: usize) -> &SessionStats {
        &self.sessions[worker]
    }

    /// What all workers have counted of the sessions.
    pub fn all_sessions(&self) -> &[SessionStats] {
        &self.sessions
    }

    /// Whether its backends are `tcp://`.
    pub fn carries_sessions(&self) -> bool {
        let mut backends = self.settings.backends.iter();
        backends.any(|backend| backend.addr.scheme == Scheme::Tcp)
    }

    /// Whether its checks find out which server takes writes.
    pub fn finds_primary(&self) -> bool {
        let check = self.settings.health_check.as_ref();
        check.is_some_and(|check| check.probe.finds_primary())
    }

    /// The same upstream with other settings. Members, round-robin position and queue stay.
    #[must_use]
    pub fn with_settings(&self, settings: Arc<config::Upstream>) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            retry_budget: Arc::clone(&self.retry_budget),
            cursor: Arc::clone(&self.cursor),
            members: Arc::clone(&self.members),
            balancer: Arc::clone(&self.balancer),
            ring: self.ring.clone(),
            responses: Arc::clone(&self.responses),
            sessions: Arc::clone(&self.sessions),
            ..Self::new(self.id, settings, 0)
        }
    }

    /// The same upstream with these backends, none of them available yet unless they are as before.
    #[must_use]
    pub fn with_members(&self, members: Vec<Member>) -> Self {
        let is_same = |(old, new): (&Member, &Member)| {
            old.backend.id == new.backend.id && old.weight == new.weight
        };
        let unchanged =
            self.members.len() == members.len() && self.members.iter().zip(&members).all(is_same);
        let by_hash = matches!(self.settings.policy, Policy::ConsistentHash { .. });
        let ring = match &self.ring {
            Some(ring) if unchanged && by_hash => Some(Arc::clone(ring)),
            _ => by_hash.then(|| {
                let members = (0..).zip(&members);
                Arc::new(HashRing::new(members.map(|(index, member)| {
                    (index, member.backend.addr, member.weight)
                })))
            }),
        };
        Self {
            members: members.into(),
            balancer: match unchanged {
                true => Arc::clone(&self.balancer),
                false => Arc::default(),
            },
            ring,
            ..self.clone()
        }
    }

    /// The same upstream with other backends available. `share` tells which tenths of its weight
    /// a member gets; `None` for one that is not available. Backups count where no other one is
    /// available, and if none is, all enabled ones do where the operator wants that.
    #[must_use]
    pub fn with_available(&self, share: impl Fn(&Member) -> Option<NonZeroU16>) -> Self {
        let members = || (0..).zip(self.members.iter());
        let mut available: Vec<(u16, &Member, NonZeroU16)> = members()
            .filter_map(|(index, member)| Some((index, member, share(member)?)))
            .collect();
        if available.iter().any(|(_, member, _)| !member.is_backup) {
            available.retain(|(_, member, _)| !member.is_backup);
        }
        if available.is_empty() && self.settings.when_all_down == WhenAllDown::Any {
            let enabled = members().filter(|(_, member)| member.admin_state == AdminState::Enabled);
            available.extend(enabled.map(|(index, member)| (index, member, WHOLE_SHARE)));
        }
        // Tenths make the schedule longer, so they are there only while somebody starts slowly.
        let all_whole = available.iter().all(|&(_, _, share)| share >= WHOLE_SHARE);
        let weighted = available.into_iter().map(|(index, member, share)| {
            let weight = match all_whole {
                true => member.weight,
                false => member.weight.saturating_mul(share),
            };
            (index, weight)
        });
        let weighted: Vec<(u16, NonZeroU16)> = weighted.collect();
        let policy = self.settings.policy;
        let balancer = match self.balancer.is_over(policy, &weighted) {
            true => Arc::clone(&self.balancer),
            false => Arc::new(Balancer::new(policy, weighted, self.ring.clone())),
        };
        Self {
            balancer,
            ..self.clone()
        }
    }

    /// The same upstream, of which some backend's first probe has no result yet, or none has.
    #[must_use]
    pub fn with_unprobed(self, is_unprobed: bool) -> Self {
        Self {
            is_unprobed,
            ..self
        }
    }

    /// Whether the first probe of a backend that may take requests has no result yet, so that
    /// requests should wait for it.
    pub fn is_unprobed(&self) -> bool {
        self.is_unprobed
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether a pick depends on the request's hash.
    pub fn hashes(&self) -> bool {
        self.ring.is_some()
    }

    /// Whether no backend takes requests.
    pub fn is_down(&self) -> bool {
        self.balancer.is_empty()
    }

    /// The next backend by the upstream's policy, passing over those that were `tried` and those
    /// that have as many requests in flight as they may. `key` is what consistent hashing hashes,
    /// `random` draws a number below its argument. Costs what the policy says.
    pub fn pick(
        &self,
        key: &[u8],
        tried: &[usize],
        random: impl FnMut(usize) -> usize,
    ) -> Pick<'_> {
        let turn = || self.cursor.0.fetch_add(1, Ordering::Relaxed);
        self.pick_at(turn, key, tried, random)
    }

    /// What the next pick would come to. Changes nothing.
    pub fn peek(&self, key: &[u8]) -> Pick<'_> {
        self.pick_at(
            || self.cursor.0.load(Ordering::Relaxed),
            key,
            &[],
            |_below| 0,
        )
    }

    /// The backends that take requests now.
    pub fn available(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let members = |index: u16| self.members.get(usize::from(index));
        let available = self.balancer.available().filter_map(members);
        available.map(|member| &member.backend)
    }

    fn pick_at(
        &self,
        turn: impl FnOnce() -> u64,
        key: &[u8],
        tried: &[usize],
        random: impl FnMut(usize) -> usize,
    ) -> Pick<'_> {
        let limit = self.settings.max_requests.map(|limit| limit.get() as usize);
        let backend = |index: u16| {
            let member = self.members.get(usize::from(index));
            member.map(|member| &member.backend)
        };
        let in_flight = |index| backend(index).map_or(0, |backend| backend.stats.in_flight());
        let is_tried = |index| backend(index).is_none_or(|backend| tried.contains(&backend.id));
        let is_full = |index| limit.is_some_and(|limit| in_flight(index) >= limit);
        let picked = self.balancer.pick(key, turn, random, in_flight, |index| {
            is_tried(index) || is_full(index)
        });
        match picked.and_then(backend) {
            Some(backend) => Pick::Backend(backend),
            None if self.balancer.available().any(|index| !is_tried(index)) => Pick::Busy,
            None => Pick::NoneLeft,
        }
    }
}

/// TLS as a client of backends: versions 1.2 and 1.3, HTTP/2 preferred, always verified.
fn tls(settings: &config::Tls) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    match &settings.authorities {
        // One that cannot be used is passed over; what it signed is then refused.
        Some(authorities) => {
            let _added_and_ignored = roots.add_parsable_certificates(authorities.iter().cloned());
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what the versions need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// All ten tenths.
pub const WHOLE_SHARE: NonZeroU16 = NonZeroU16::new(10).expect("not zero");

#[cfg(test)]
mod tests;
