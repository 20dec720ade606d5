//! Which backend a request may go to now, and the wait where all of them are full.

use std::pin::pin;

use tokio::time::timeout;

use crate::{
    config::Queue,
    data::{error::ForwardError, http::attempt::Work},
    state::{InFlight, Pick, Place, Snapshot, Upstream},
};

impl Work<'_> {
    /// Chooses a backend that was not `tried` yet and counts the request there. Waits in the queue
    /// where all are full.
    pub(super) async fn begin(&self, tried: &[usize]) -> Result<InFlight, ForwardError> {
        let limit = self.upstream.settings.in_flight_limit;
        // Those who wait come first.
        let may_go = limit.is_none() || self.upstream.queue.waiting() == 0;
        if may_go && let Some(in_flight) = self.begin_on(self.upstream, tried)? {
            return Ok(in_flight);
        }
        let queue = self.upstream.settings.queue;
        if !tried.is_empty() {
            // One who may not take just any backend would take signs that others could use.
            return Err(ForwardError::QueueFull {
                upstream: self.upstream.name().to_owned(),
                length: queue.length,
            });
        }
        Box::pin(self.queue(queue)).await
    }

    /// Waits for a place at any backend.
    async fn queue(&self, queue: Queue) -> Result<InFlight, ForwardError> {
        self.sending.upload.progress();
        let Some(place) = self.upstream.queue.enter(queue.length) else {
            return Err(ForwardError::QueueFull {
                upstream: self.upstream.name().to_owned(),
                length: queue.length,
            });
        };
        let waited = timeout(queue.timeout, self.wait(&place)).await;
        waited.unwrap_or_else(|_elapsed| {
            Err(ForwardError::QueueTimeout {
                upstream: self.upstream.name().to_owned(),
                timeout: queue.timeout,
            })
        })
    }

    async fn wait(&self, place: &Place<'_>) -> Result<InFlight, ForwardError> {
        loop {
            let mut room = pin!(place.room());
            // From here on no sign is lost.
            room.as_mut().enable();
            // Others may be available by now.
            let snapshot = self.worker.snapshot();
            let upstream = current(&snapshot, self.upstream);
            match self.begin_on(upstream, &[]) {
                Ok(Some(in_flight)) => return Ok(in_flight),
                Ok(None) => room.await,
                Err(error) => {
                    // The sign that was for this one may be of use to another.
                    upstream.queue.let_one_in();
                    return Err(error);
                }
            }
        }
    }

    /// Counts the request at a backend of the upstream; `None` if all are full.
    fn begin_on(
        &self,
        upstream: &Upstream,
        tried: &[usize],
    ) -> Result<Option<InFlight>, ForwardError> {
        loop {
            let random = |below| fastrand::usize(..below);
            let backend = match upstream.pick(&self.sending.key, tried, random) {
                Pick::Backend(backend) => backend,
                Pick::Busy => return Ok(None),
                Pick::NoneLeft => {
                    let upstream = self.upstream.name().to_owned();
                    return Err(ForwardError::NoBackend { upstream });
                }
            };
            let limit = upstream.settings.in_flight_limit;
            // Somebody may have been faster.
            if let Some(in_flight) = InFlight::begin(backend, limit) {
                return Ok(Some(in_flight));
            }
        }
    }
}

/// The same upstream as it is now, or as it was if a reload took it away.
fn current<'a>(snapshot: &'a Snapshot, upstream: &'a Upstream) -> &'a Upstream {
    let same = snapshot
        .upstreams
        .iter()
        .find(|same| same.id == upstream.id);
    same.unwrap_or(upstream)
}
