//! A request's attempts: which backend takes it, on which connection, and whether another may be
//! tried.
//!
//! What may be sent again: anything, while nothing of it was delivered (no connection; an HTTP/2
//! backend that says so); an idempotent request of which nothing came back, once. A `POST` is
//! never delivered twice.

use std::{future::poll_fn, pin::pin, rc::Rc, sync::Arc};

use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant, timeout};

use crate::{
    config::Queue,
    data::{
        WorkerContext,
        error::ForwardError,
        http::{
            backend_conn::BackendConn, record::Record, request_body::Upload, response_body::Lease,
            sending::Sending,
        },
    },
    net::{Dialing, HttpVersion, dial},
    state::{Backend, InFlight, Pick, Place, Snapshot, Upstream},
};

/// A request that is being sent to one backend after another until one answers.
pub(super) struct Work<'a> {
    pub(super) worker: &'a Rc<WorkerContext>,
    pub(super) upstream: &'a Upstream,
    pub(super) sending: Sending,
    pub(super) record: Option<&'a mut Record>,
}

/// What a backend answered.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    /// The protocol that both sides switch to.
    pub(super) upgrade: Option<HeaderValue>,
    /// What was asked.
    pub(super) method: Method,
}

/// Why an attempt failed.
struct Failure {
    error: ForwardError,
    /// Whether the request may be sent again.
    again: Again,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Again {
    /// Never.
    No,
    /// To another backend: this one cannot be reached, or is leaving.
    Elsewhere,
    /// On a fresh connection, to the same backend first.
    Afresh,
}

impl Work<'_> {
    /// Sends the request until a backend answers, or nothing more may be tried.
    pub(super) async fn run(&mut self) -> Result<Answered, ForwardError> {
        let budget = self.worker.retry_budgets.of(self.upstream.id);
        budget.deposit(self.upstream.settings.retry_percent);
        let mut tried = Vec::new();
        let mut failed = None;
        let mut kept = Kept::Take;
        let mut again_on = None;
        let mut was_lost = false;
        for _ in 0..ATTEMPTS_MAX {
            let in_flight = match again_on.take() {
                Some(in_flight) => in_flight,
                None => match self.begin(&tried).await {
                    Ok(in_flight) => in_flight,
                    // The first failure says more than that nobody else is there.
                    Err(error) => return Err(failed.unwrap_or(error)),
                },
            };
            if let Some(record) = &mut self.record {
                record.attempt(in_flight.backend());
            }
            let failure = match self.attempt(&in_flight, kept).await {
                Ok((conn, response)) => return self.answered(in_flight, conn, response),
                Err(failure) => failure,
            };
            let cause = failure.error.cause();
            self.blame(in_flight.backend(), &failure.error);
            // Whoever had it did not survive it, perhaps because of it: one more, and no further.
            let is_lost = matches!(failure.error, ForwardError::NoResponse);
            let is_hopeless = failure.again == Again::No || (is_lost && was_lost);
            if is_hopeless || !budget.withdraw(Instant::now().into_std()) {
                return Err(failure.error);
            }
            was_lost |= is_lost;
            self.worker.state().stats.retries(cause).increment();
            if failure.again == Again::Afresh && kept == Kept::Take {
                // The others that were kept may be as stale.
                kept = Kept::Leave;
                again_on = Some(in_flight);
            } else {
                tried.push(in_flight.backend().id);
            }
            failed = Some(failure.error);
        }
        Err(failed.unwrap_or(ForwardError::NoResponse))
    }

    /// Counts a failure where it belongs.
    fn blame(&self, backend: &Backend, error: &ForwardError) {
        if !error.blames_backend() {
            return;
        }
        let in_a_row = backend.stats.failed();
        self.suspect(in_a_row);
    }

    fn suspect(&self, in_a_row: u32) {
        let policy = self.upstream.settings.ejection.as_ref();
        // Not each time: where nobody may be ejected, the count goes on.
        if policy.is_some_and(|policy| in_a_row.is_multiple_of(policy.failures.get())) {
            self.worker.shared.suspects.notify_one();
        }
    }

    fn answered(
        &mut self,
        in_flight: InFlight,
        conn: BackendConn,
        response: Response<Incoming>,
    ) -> Result<Answered, ForwardError> {
        let stats = &in_flight.backend().stats;
        match response.status() {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => self.suspect(stats.responded_badly()),
            _ => stats.responded(),
        }
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        Ok(Answered {
            upgrade: self.sending.upgrade.take().filter(|_| switches),
            method: self.sending.method.clone(),
            response,
            lease: Lease {
                worker: Rc::clone(self.worker),
                in_flight,
                conn,
                upload: Rc::clone(&self.sending.upload),
            },
        })
    }

    /// Chooses a backend and counts the request there. Waits in the queue where all are full.
    async fn begin(&self, tried: &[usize]) -> Result<InFlight, ForwardError> {
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

    /// Sends the request to one backend, on a kept connection if there is one.
    async fn attempt(
        &self,
        in_flight: &InFlight,
        kept: Kept,
    ) -> Result<(BackendConn, Response<Incoming>), Failure> {
        let backend = in_flight.backend();
        let pool = &self.worker.conn_pool;
        let reused = match (kept, &self.sending.upgrade) {
            (Kept::Take, None) => pool.take(backend.id, self.sending.upload.now()),
            // A tunnel takes its connection with it.
            (Kept::Take, Some(_)) | (Kept::Leave, _) => None,
        };
        let (mut conn, freshness) = match reused {
            Some(conn) => (conn, Freshness::Reused),
            // In a box, as it is large and rare.
            None => Box::pin(self.connect(backend))
                .await
                .map_err(|error| Failure {
                    error,
                    again: Again::Elsewhere,
                })?,
        };
        let response = self.send(&mut conn, backend, freshness).await?;
        Ok((conn, response))
    }

    async fn connect(
        &self,
        backend: &Arc<Backend>,
    ) -> Result<(BackendConn, Freshness), ForwardError> {
        let connect_timeout = self.upstream.settings.connect_timeout;
        match timeout(connect_timeout, self.open(backend)).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(ForwardError::ConnectTimeout {
                backend: backend.to_string(),
                timeout: connect_timeout,
            }),
        }
    }

    async fn open(&self, backend: &Arc<Backend>) -> Result<(BackendConn, Freshness), ForwardError> {
        let pool = &self.worker.conn_pool;
        let wanted = match self.sending.upgrade {
            Some(_) => Dialing::Http1,
            None => Dialing::Any,
        };
        let connecting = match wanted {
            Dialing::Any if backend.may_speak_http2() => pool.connecting(backend.id),
            Dialing::Any | Dialing::Http1 => None,
        };
        let _turn = match &connecting {
            Some(connecting) => Some(connecting.lock().await),
            None => None,
        };
        // Whoever was first may have left something to share.
        if connecting.is_some()
            && let Some(conn) = pool.take(backend.id, self.sending.upload.now())
        {
            return Ok((conn, Freshness::Reused));
        }
        let dialed = dial(backend, self.upstream, wanted).await;
        let (stream, version) = dialed.map_err(|source| ForwardError::Connect {
            backend: backend.to_string(),
            source,
        })?;
        let opened = BackendConn::open(stream, version).await;
        let conn = opened.map_err(|_source| ForwardError::NoResponse)?;
        if connecting.is_some() {
            pool.opened(backend.id, &conn);
        }
        Ok((conn, Freshness::Fresh))
    }

    /// Sends the request on a connection and waits for the response's head.
    async fn send(
        &self,
        conn: &mut BackendConn,
        backend: &Backend,
        freshness: Freshness,
    ) -> Result<Response<Incoming>, Failure> {
        let settings = &self.upstream.settings;
        let Some(body) = self.sending.upload.body(settings.idle_timeout) else {
            let error = self.sending.upload.error();
            return Err(Failure::last(
                error.map_or(ForwardError::NoResponse, Into::into),
            ));
        };
        let upload = &self.sending.upload;
        upload.progress();
        let timeouts = Timeouts {
            response: settings.response_timeout,
            idle: settings.idle_timeout,
        };
        let sent = tokio::select! {
            biased;
            // First, as a backend that sends without end leaves no time for what comes second.
            () = no_response(upload, timeouts) => {
                let timeout = timeouts.response;
                conn.note_silence();
                return Err(Failure::last(ForwardError::ResponseTimeout { timeout }));
            }
            sent = conn.send(&self.sending, backend, body) => sent,
        };
        let failed = match sent {
            Ok(response) => return self.sending.judge(response).map_err(Failure::last),
            Err(failed) => failed,
        };
        if let Some(error) = upload.error() {
            return Err(Failure::last(error.into()));
        }
        let unsent = failed.message().is_some();
        let unprocessed = unsent || is_unprocessed(failed.error());
        let error = match (freshness, conn.version()) {
            (_, HttpVersion::Http2) if unprocessed => ForwardError::RefusedStream,
            (Freshness::Reused, _) => ForwardError::StaleConnection,
            (Freshness::Fresh, _) => ForwardError::NoResponse,
        };
        let is_harmless = unprocessed || self.sending.method.is_idempotent();
        let may_repeat = is_harmless && upload.can_be_repeated();
        Err(Failure {
            error,
            again: match freshness {
                _ if !may_repeat => Again::No,
                Freshness::Reused => Again::Afresh,
                Freshness::Fresh => Again::Elsewhere,
            },
        })
    }
}

impl Failure {
    fn last(error: ForwardError) -> Self {
        Self {
            error,
            again: Again::No,
        }
    }
}

/// Whether an HTTP/2 backend says that it did nothing with the request (RFC 9113 section 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    source.is_some_and(|error: &h2::Error| match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => true,
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    })
}

/// The same upstream as it is now, or as it was if a reload took it away.
fn current<'a>(snapshot: &'a Snapshot, upstream: &'a Upstream) -> &'a Upstream {
    let same = snapshot
        .upstreams
        .iter()
        .find(|same| same.id == upstream.id);
    same.unwrap_or(upstream)
}

/// Waits until no response came for too long after the end of the request. While the request is
/// still coming, its body's own limit must come first.
async fn no_response(upload: &Upload, timeouts: Timeouts) {
    let due = || {
        let wait = match upload.has_ended() {
            true => timeouts.response,
            false => timeouts.response.max(timeouts.idle) + BODY_MARGIN,
        };
        upload.progress_at() + wait
    };
    let mut timer = upload.timer(due());
    poll_fn(|cx| {
        upload.tell_the_end_to(cx.waker());
        timer.poll_until(due, cx)
    })
    .await
}

/// The times that an upstream allows one request.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    response: Duration,
    idle: Duration,
}

/// Whether kept connections may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kept {
    Take,
    Leave,
}

/// Whether a connection carried a request before.
#[derive(Clone, Copy, Debug)]
enum Freshness {
    Fresh,
    Reused,
}

/// A client waits for all of them; more only prolong an outage.
const ATTEMPTS_MAX: usize = 4;
const BODY_MARGIN: Duration = Duration::from_millis(500);
