//! Gets a backend for a request or a session: picks one, or waits where all of them are full.

use std::pin::pin;

use crate::{
    data::{
        context::{UpstreamRef, WorkerContext},
        fault::Fault,
    },
    state::{InFlight, Pick, QueueRank, Upstream},
};

/// Counts what has come at a backend that is not among those that were tried; `None` if it has to wait
/// for one. `key` is what consistent hashing hashes.
///
/// # Errors
///
/// When no backend is left.
pub(in crate::data) fn pick(
    upstream: &Upstream,
    key: &[u8],
    tried: &[usize],
) -> Result<Option<InFlight>, Fault> {
    // Those that wait come first.
    let must_wait = tried.is_empty()
        && upstream.queue.waiting() > 0
        && upstream.settings.max_requests.is_some();
    if must_wait {
        return Ok(None);
    }
    match begin_on(upstream, key, tried) {
        Begun::At(in_flight) => Ok(Some(in_flight)),
        Begun::Busy => Ok(None),
        Begun::NoneLeft if tried.is_empty() && upstream.is_unprobed() => Ok(None),
        Begun::NoneLeft => Err(no_backend(upstream)),
    }
}

/// Waits for a place at a backend: a retry before all that were not tried yet. Takes as long as it
/// takes: the caller sets the limit.
///
/// # Errors
///
/// When the queue is full, or no backend is left to wait for.
pub(in crate::data) async fn wait_in_queue(
    context: &WorkerContext,
    upstream: &UpstreamRef,
    key: &[u8],
    tried: &[usize],
) -> Result<InFlight, Fault> {
    let queue = &upstream.get().queue;
    let length = upstream.get().settings.queue.length;
    let rank = match tried.is_empty() {
        true => QueueRank::First,
        false => QueueRank::Retry,
    };
    let Some(place) = queue.enter(rank, length) else {
        return Err(Fault::QueueFull {
            upstream: upstream.get().name().to_owned(),
            length,
        });
    };
    let mut was_woken = false;
    loop {
        let mut room = pin!(place.room());
        // From here on no wake-up is lost.
        room.as_mut().enable();
        // Other backends may be available by now.
        let current = upstream.in_snapshot(&context.snapshot());
        match begin_on(current.get(), key, tried) {
            Begun::At(in_flight) => return Ok(in_flight),
            Begun::NoneLeft if !current.get().is_unprobed() => {
                // The wake-up that was for this request may be of use to another.
                queue.let_one_in();
                return Err(no_backend(current.get()));
            }
            Begun::Busy | Begun::NoneLeft => {
                if std::mem::replace(&mut was_woken, true) {
                    place.pass_on();
                }
                room.await;
            }
        }
    }
}

enum Begun {
    At(InFlight),
    Busy,
    NoneLeft,
}

fn begin_on(upstream: &Upstream, key: &[u8], tried: &[usize]) -> Begun {
    loop {
        let random = |below| fastrand::usize(..below);
        let backend = match upstream.pick(key, tried, random) {
            Pick::Backend(backend) => backend,
            Pick::Busy => return Begun::Busy,
            Pick::NoneLeft => return Begun::NoneLeft,
        };
        // Another worker may have been faster.
        if let Some(in_flight) = InFlight::begin(backend, upstream.settings.max_requests) {
            return Begun::At(in_flight);
        }
    }
}

fn no_backend(upstream: &Upstream) -> Fault {
    let name = upstream.name().to_owned();
    match upstream.members.is_empty() {
        true => Fault::NoAddress { upstream: name },
        false => Fault::NoBackend { upstream: name },
    }
}
