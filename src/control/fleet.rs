//! Shares rate limits with the other processes of a fleet: reports what the workers gave out, and sets
//! their buckets to what all processes gave out. While the server gives no answer, each process is on
//! its own.

use std::{convert::Infallible, sync::Arc};

use tokio::time::{Duration, Instant, sleep};

use crate::{
    config::{OnFailure, Redis},
    fleet::{FleetError, Node, Report, SharedBuckets},
    limit::{BucketTable, ClientTable, Tick, TokenBucket},
    state::{Fleet, RateLimits, Shared, SharedBucket, Used},
};

/// Shares limits by a server.
#[derive(Debug)]
pub(super) struct FleetSync {
    redis: Redis,
    shared: Arc<Shared>,
    /// Of a cluster: where the buckets are.
    node: Option<Node>,
}

impl FleetSync {
    /// What shares limits by a server.
    pub(super) fn new(redis: Redis, shared: Arc<Shared>) -> Self {
        Self {
            redis,
            shared,
            node: None,
        }
    }

    /// Shares for ever. Connects anew, after a pause that grows, each time that there is no answer.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(fleet) = shared.rate_limits.fleet() else {
            return;
        };
        let mut pause = PAUSE_MIN;
        loop {
            let (reports, was_sent_on) = (fleet.reports(), self.node.is_some());
            let Err(error) = self.share(fleet).await;
            self.node = error.moved_to().filter(|_node| !was_sent_on);
            if self.node.is_some() {
                continue;
            }
            if fleet.failed() {
                let redis = &self.redis.url;
                let meanwhile = meanwhile(self.redis.on_failure);
                tracing::error!(%redis, %error, "Redis gives no answer; until it does, {meanwhile}");
            }
            // Counted in this process alone.
            drop(fleet.take_used());
            pause = match fleet.reports() > reports {
                true => PAUSE_MIN,
                false => (pause * 2).min(PAUSE_MAX),
            };
            sleep(super::jittered(pause)).await;
        }
    }

    async fn share(&mut self, fleet: &Fleet) -> Result<Infallible, FleetError> {
        let mut buckets = SharedBuckets::connect(&self.redis, self.node.take()).await?;
        if fleet.answered() {
            let redis = &self.redis.url;
            tracing::info!(%redis, "Redis answers; rate limits are shared");
        }
        loop {
            tokio::select! {
                () = fleet.used() => {}
                () = sleep(PROBE_INTERVAL) => {
                    buckets.probe().await?;
                    continue;
                }
            }
            // More may come, and is reported at once with it.
            sleep(GATHER_TIME).await;
            let used: Vec<_> = fleet.take_used().into_iter().collect();
            for used in used.chunks(BUCKETS_MAX) {
                self.report(fleet, &mut buckets, used).await?;
            }
        }
    }

    async fn report(
        &self,
        fleet: &Fleet,
        buckets: &mut SharedBuckets,
        used: &[(SharedBucket, Used)],
    ) -> Result<(), FleetError> {
        let rate_limits = &self.shared.rate_limits;
        let reports: Vec<Report> = {
            let clients = self.clients();
            let known = Known {
                rate_limits,
                clients: &clients,
                now: rate_limits.tick(Instant::now()),
            };
            let report = |(bucket, used): &(SharedBucket, Used)| known.report(bucket, *used);
            used.iter().map(report).collect()
        };
        let missing = buckets.report(&reports).await?;
        fleet.reported(reports.len());
        let clients = self.clients();
        let known = Known {
            rate_limits,
            clients: &clients,
            now: rate_limits.tick(Instant::now()),
        };
        for ((bucket, used), missing) in used.iter().zip(missing) {
            // What was taken since is not reported yet.
            let untaken = used.quota.time_of(fleet.untaken(bucket));
            known.set_missing(bucket, missing.saturating_add(untaken));
        }
        Ok(())
    }

    fn clients(&self) -> Arc<ClientTable> {
        Arc::clone(&self.shared.snapshot.load().limits.clients)
    }
}

/// The buckets of this process.
struct Known<'a> {
    rate_limits: &'a RateLimits,
    clients: &'a ClientTable,
    now: Tick,
}

/// Where this process keeps a bucket.
enum Local<'a> {
    Registered(&'a TokenBucket),
    Unregistered { table: &'a BucketTable, key: u64 },
}

impl Known<'_> {
    /// `None` for a client that is gone.
    fn find(&self, bucket: &SharedBucket) -> Option<Local<'_>> {
        match bucket {
            SharedBucket::Registered { id, limit } => {
                let client = self.clients.get(id)?;
                let bucket = match limit {
                    Some(slot) => client.scoped(*slot)?,
                    None => &client.bucket,
                };
                Some(Local::Registered(bucket))
            }
            SharedBucket::Unregistered { address, limit } => Some(Local::Unregistered {
                table: self.rate_limits.buckets(),
                key: self.rate_limits.key(*limit, *address),
            }),
        }
    }

    fn report(&self, bucket: &SharedBucket, used: Used) -> Report {
        let missing = match self.find(bucket) {
            Some(Local::Registered(bucket)) => bucket.missing(self.now),
            Some(Local::Unregistered { table, key }) => table.missing(key, self.now),
            None => Duration::ZERO,
        };
        let time = used.quota.time_of(used.tokens);
        Report {
            bucket: self.name(bucket),
            used: time,
            known: missing.saturating_sub(time),
            most: used.quota.time_of_deepest_debt(),
        }
    }

    fn set_missing(&self, bucket: &SharedBucket, missing: Duration) {
        match self.find(bucket) {
            Some(Local::Registered(bucket)) => bucket.set_missing(missing, self.now),
            Some(Local::Unregistered { table, key }) => table.set_missing(key, missing, self.now),
            None => {}
        }
    }

    /// What all processes call a bucket.
    fn name(&self, bucket: &SharedBucket) -> String {
        let limit_name = |slot| self.rate_limits.name(slot).unwrap_or_default();
        match bucket {
            SharedBucket::Registered { id, limit } => {
                let limit = limit.map_or_else(|| OWN_QUOTA.to_owned(), limit_name);
                format!("{limit}:client:{id}")
            }
            SharedBucket::Unregistered { address, limit } => {
                format!("{}:address:{address}", limit_name(*limit))
            }
        }
    }
}

fn meanwhile(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Local => "each process limits on its own",
        OnFailure::Allow => "no request is limited",
        OnFailure::Deny => "all requests that come under a limit are refused",
    }
}

/// The name of a registered client's own quota, beside those of limits.
const OWN_QUOTA: &str = "own";
/// Buckets of one call: it keeps the server busy for less than a millisecond.
const BUCKETS_MAX: usize = 256;
const GATHER_TIME: Duration = Duration::from_millis(1);
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(125);
const PAUSE_MAX: Duration = Duration::from_secs(1);
