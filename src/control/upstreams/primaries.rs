//! Which of the servers that take writes an upstream uses, where a check knows them.

use std::collections::HashMap;

use crate::{
    config::AdminState,
    control::upstreams::{BackendRecord, Upstreams},
    health::Health,
    replication::{Primary, PrimarySeat, Timeline},
    state::{Member, Upstream},
};

/// What is known of the primary of one upstream.
#[derive(Debug)]
pub(super) struct Primaries {
    seat: PrimarySeat,
    /// Servers beside the one in use that say that they are the primary.
    others: Vec<usize>,
}

/// Whether a server that takes writes may get them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It is in use, or no check knows who takes writes.
    Unopposed,
    /// Other servers were not probed yet.
    Undecided,
    /// Another one is in use, or its timeline is an old one.
    PassedOver,
}

impl Upstreams {
    /// Decides which backend of each upstream gets writes, and passes over the other ones that would
    /// take them. Only for upstreams whose checks know who takes writes.
    pub(super) fn choose_primaries(&mut self, upstreams: &[Upstream]) {
        let mut used = HashMap::new();
        for upstream in upstreams.iter().filter(|upstream| upstream.finds_primary()) {
            if let Some(timeline) = self.choose_primary(upstream) {
                used.insert(upstream.name(), timeline);
            }
        }
        self.kept_timelines.keep(&used);
    }

    /// Decides for one upstream, and tells the timeline that it uses.
    fn choose_primary(&mut self, upstream: &Upstream) -> Option<Timeline> {
        let kept = self.kept_timelines.of(upstream.name());
        let known = self.primaries.entry(upstream.id);
        let known = known.or_insert_with(|| Primaries {
            seat: PrimarySeat::after(kept),
            others: Vec::new(),
        });
        let members = upstream.members.iter();
        let primaries: Vec<Primary> = members
            .filter_map(|member| primary(&self.records, member))
            .collect();
        let mut members = upstream.members.iter();
        // Of two primaries at the start the one on the newer timeline is used, so both are waited for.
        let waits =
            !known.seat.is_taken() && members.any(|member| is_unprobed(&self.records, member));
        let holder = match waits {
            true => None,
            false => known.seat.give(&primaries),
        };
        let mut others = Vec::new();
        for &Primary { server, .. } in &primaries {
            let standing = match holder {
                Some(holder) if holder == server => Standing::Unopposed,
                _ if waits => Standing::Undecided,
                Some(_) | None => Standing::PassedOver,
            };
            if standing == Standing::PassedOver {
                others.push(server);
            }
            if let Some(record) = self.records.get_mut(&server) {
                record.standing = standing;
            }
        }
        if others != known.others {
            tell(upstream, holder, &others, &primaries);
            known.others = others;
        }
        known.seat.latest()
    }
}

/// A server that passes its checks as the primary. One that drains is still in use.
fn primary(records: &HashMap<usize, BackendRecord>, member: &Member) -> Option<Primary> {
    let record = records.get(&member.backend.id)?;
    let is_up = record.health == Health::Healthy && member.admin_state != AdminState::Disabled;
    let timeline = record.primary.filter(|_| is_up)?;
    Some(Primary {
        server: member.backend.id,
        timeline,
    })
}

/// Whether a backend's first probe has no result yet.
pub(super) fn is_unprobed(records: &HashMap<usize, BackendRecord>, member: &Member) -> bool {
    let record = records.get(&member.backend.id);
    member.admin_state == AdminState::Enabled && record.is_some_and(|record| !record.probed)
}

fn tell(upstream: &Upstream, holder: Option<usize>, others: &[usize], primaries: &[Primary]) {
    let name = |server: usize| {
        let mut members = upstream.members.iter();
        let member = members.find(|member| member.backend.id == server);
        let timeline = primaries.iter().find(|primary| primary.server == server);
        let number = timeline.map_or(0, |primary| primary.timeline.number);
        member.map_or_else(String::new, |member| {
            format!("{} on timeline {number}", member.backend)
        })
    };
    let upstream = upstream.name();
    let in_use = holder.map_or_else(|| "none".to_owned(), name);
    if others.is_empty() {
        tracing::info!(upstream, in_use, "there is one primary again");
        return;
    }
    let refused: Vec<String> = others.iter().map(|&other| name(other)).collect();
    let refused = refused.join(", ");
    tracing::error!(
        upstream,
        in_use,
        refused,
        "more than one server says that it is the primary, or an old one does; one at most gets sessions"
    );
}
