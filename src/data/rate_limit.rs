//! Whether a client may make a request now. What may refuse a call of either service.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    config::OnFailure,
    data::{context::WorkerContext, limited::Limited},
    limit::{Mode, Quota, Refusal, Registered, Room, Slot, Tick, TokenBucket, one_client},
    message::RequestHead,
    state::{Fleet, Limit, Limits, RateLimits, Scope, SharedBucket, Sharing, WorkerStats},
};

/// Which client a request is of.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Caller<'a> {
    /// The client's address, as trusted proxies say.
    pub(in crate::data) address: IpAddr,
    /// What it sent as `X-API-Key`.
    pub(in crate::data) api_key: Option<&'a [u8]>,
}

/// The limits that a request comes under, beside its client's own.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Scoped<'a> {
    pub(in crate::data) listener: Option<&'a Limit>,
    pub(in crate::data) route: Option<&'a Limit>,
    /// Tokens that the request takes from each bucket.
    pub(in crate::data) cost: NonZeroU32,
}

impl<'a> Caller<'a> {
    /// The client of a request from an address. Its key is not looked for where no client has one.
    pub(in crate::data) fn of(head: &'a RequestHead, address: IpAddr, limits: &Limits) -> Self {
        let has_keys = limits.clients.has_keys();
        let api_key = || head.fields().value(API_KEY.as_bytes());
        Self {
            address,
            api_key: has_keys.then(api_key).flatten(),
        }
    }
}

/// A request that asks for its tokens.
struct Request<'a> {
    context: &'a WorkerContext,
    caller: Caller<'a>,
    client: Option<&'a Arc<Registered>>,
    cost: NonZeroU32,
    now: Tick,
    sharing: Option<Sharing>,
}

/// Takes the tokens of a request from all the buckets that it comes under, or from none. Costs a
/// look-up of the client and a compare-and-swap for each limit, and nothing where there are none. In
/// a fleet, a note for each limit as well; the other processes are never waited for.
///
/// # Errors
///
/// The first limit that refuses it.
pub(in crate::data) fn admit(
    context: &WorkerContext,
    limits: &Limits,
    scoped: Scoped<'_>,
    caller: Caller<'_>,
    now: Instant,
) -> Result<(), Limited> {
    let client = limits.clients.find(caller.address, caller.api_key);
    let rate_limits = &context.shared.rate_limits;
    let sharing = rate_limits.fleet().map(Fleet::sharing);
    if sharing == Some(Sharing::Alone(OnFailure::Allow)) {
        return Ok(());
    }
    let request = Request {
        context,
        caller,
        client,
        cost: scoped.cost,
        now: rate_limits.tick(now),
        sharing,
    };
    let own = request.own(limits);
    let scoped = [scoped.listener, scoped.route];
    let scoped = scoped
        .into_iter()
        .flatten()
        .map(|limit| request.scoped(limit));
    request.take_all(own.into_iter().chain(scoped), now)
}

/// Whether there is any limit that a request comes under.
pub(in crate::data) fn is_limited(limits: &Limits, scoped: Scoped<'_>) -> bool {
    limits.default.is_some()
        || !limits.clients.is_empty()
        || scoped.listener.is_some()
        || scoped.route.is_some()
}

/// One limit of a request, and the bucket that it takes from.
#[derive(Clone, Copy)]
struct Demand<'a> {
    scope: Scope,
    quota: &'a Quota,
    mode: Mode,
    bucket: Bucket<'a>,
}

#[derive(Clone, Copy)]
enum Bucket<'a> {
    /// A registered client's.
    Known {
        client: &'a Registered,
        /// The limit; `None` for its own quota.
        limit: Option<Slot>,
        bucket: &'a TokenBucket,
    },
    /// Of the table for all others, by its key.
    Table {
        limit: Slot,
        key: u64,
        overflow: &'a TokenBucket,
    },
}

impl<'a> Request<'a> {
    /// The limit on all requests of the client.
    fn own(&self, limits: &'a Limits) -> Option<Demand<'a>> {
        match self.client {
            Some(client) => Some(Demand {
                scope: Scope::Client,
                quota: &client.client.quota,
                mode: limits.mode,
                bucket: Bucket::Known {
                    client,
                    limit: None,
                    bucket: &client.bucket,
                },
            }),
            None => limits.default.as_ref().map(|limit| self.scoped(limit)),
        }
    }

    fn scoped(&self, limit: &'a Limit) -> Demand<'a> {
        let known = self.client.and_then(|client| {
            Some(Bucket::Known {
                client,
                limit: Some(limit.slot),
                bucket: client.scoped(limit.slot)?,
            })
        });
        let table = || Bucket::Table {
            limit: limit.slot,
            key: self.rate_limits().key(limit.slot, self.caller.address),
            overflow: &limit.overflow,
        };
        Demand {
            scope: limit.scope,
            quota: &limit.rule.quota,
            mode: limit.rule.mode,
            bucket: known.unwrap_or_else(table),
        }
    }

    fn take_all(
        &self,
        demands: impl Iterator<Item = Demand<'a>>,
        now: Instant,
    ) -> Result<(), Limited> {
        let mut taken = [None::<(Demand<'_>, Room)>; LIMITS_MAX];
        for (demand, taken_from) in demands.zip(0..) {
            match self.take(demand) {
                (room, Ok(())) => {
                    if let Some(place) = taken.get_mut(taken_from) {
                        *place = Some((demand, room));
                    }
                }
                (_, Err(refusal)) => {
                    self.count(demand);
                    if demand.mode == Mode::Shadow {
                        self.log(demand, now);
                        continue;
                    }
                    for (demand, room) in taken.into_iter().flatten() {
                        self.refund(demand, room);
                    }
                    return Err(Limited {
                        scope: demand.scope,
                        quota: *demand.quota,
                        refusal,
                    });
                }
            }
        }
        for (demand, room) in taken.into_iter().flatten() {
            self.note(demand, room);
        }
        Ok(())
    }

    fn take(&self, demand: Demand<'_>) -> (Room, Result<(), Refusal>) {
        if self.sharing == Some(Sharing::Alone(OnFailure::Deny)) {
            return (Room::Own, Err(FLEET_IS_DOWN));
        }
        match demand.bucket {
            Bucket::Known { bucket, .. } => {
                (Room::Own, bucket.take(demand.quota, self.cost, self.now))
            }
            Bucket::Table { key, overflow, .. } => {
                let buckets = self.rate_limits().buckets();
                let taken = buckets.take(key, demand.quota, self.cost, self.now, overflow);
                if taken.0 == Room::Shared {
                    self.stats().bucket_overflows.increment();
                }
                taken
            }
        }
    }

    fn refund(&self, demand: Demand<'_>, room: Room) {
        match (demand.bucket, room) {
            (Bucket::Known { bucket, .. }, _) => bucket.refund(demand.quota, self.cost),
            (Bucket::Table { overflow, .. }, Room::Shared) => {
                overflow.refund(demand.quota, self.cost);
            }
            (Bucket::Table { key, .. }, Room::Own) => {
                let buckets = self.rate_limits().buckets();
                buckets.refund(key, demand.quota, self.cost);
            }
        }
    }

    /// Tells the fleet what was taken. The bucket of clients that the table has no room for is of
    /// this process alone.
    fn note(&self, demand: Demand<'_>, room: Room) {
        let fleet = self.rate_limits().fleet();
        let is_shared = self.sharing == Some(Sharing::Shared) && room == Room::Own;
        let Some(fleet) = fleet.filter(|_| is_shared) else {
            return;
        };
        let bucket = match demand.bucket {
            Bucket::Known { client, limit, .. } => SharedBucket::Registered {
                id: Arc::clone(&client.client.id),
                limit,
            },
            Bucket::Table { limit, .. } => SharedBucket::Unregistered {
                address: one_client(self.caller.address),
                limit,
            },
        };
        let tokens = self.cost.min(demand.quota.capacity()).get();
        fleet.note(self.context.index, bucket, *demand.quota, tokens.into());
    }

    fn count(&self, demand: Demand<'_>) {
        self.stats()
            .rate_limited(demand.scope, demand.mode)
            .increment();
        if let Some(client) = self.client {
            client.refusals.record(self.now);
        }
    }

    fn log(&self, demand: Demand<'_>, now: Instant) {
        let Some(unlogged) = self.context.shadow_events.admit(now) else {
            return;
        };
        tracing::info!(
            limit = demand.scope.label(),
            client = self.client.map(|client| &*client.client.id),
            address = %self.caller.address,
            unlogged,
            "rate limit exceeded; admitted, as mode is shadow"
        );
    }

    fn stats(&self) -> &WorkerStats {
        &self.context.state().stats
    }

    fn rate_limits(&self) -> &'a RateLimits {
        &self.context.shared.rate_limits
    }
}

/// What a request is told where limits that cannot be shared refuse all.
const FLEET_IS_DOWN: Refusal = Refusal {
    retry_after: Duration::from_secs(1),
    remaining: 0,
};
/// The client's own, the listener's and the route's.
const LIMITS_MAX: usize = 3;
/// The header that names a registered client.
pub(in crate::data) const API_KEY: &str = "x-api-key";
