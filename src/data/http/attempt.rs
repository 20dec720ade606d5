//! A request's attempts: it is sent to one backend after another until one answers.

use std::{error::Error as _, future::poll_fn, io, rc::Rc};

use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::{
    config,
    data::{
        WorkerContext,
        error::ForwardError,
        http::{
            backend_conn::BackendConn,
            connecting::{Freshness, Reuse},
            history::{ATTEMPTS_MAX, Again, Failure, History, Next},
            lease::Lease,
            record::Record,
            sending::Sending,
        },
    },
    net::HttpVersion,
    state::{Backend, InFlight, Upstream},
};

/// A request that is being sent to one backend after another until one answers.
pub(super) struct Work<'a> {
    pub(super) worker: &'a Rc<WorkerContext>,
    pub(super) upstream: &'a Upstream,
    pub(super) sending: Sending,
    pub(super) deadline: Option<Deadline>,
    pub(super) record: Option<&'a mut Record>,
}

/// When an exchange as a whole must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// What it had in all.
    pub(super) timeout: Duration,
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

impl Work<'_> {
    /// Sends the request until a backend answers, or nothing more may be tried.
    pub(super) async fn run(&mut self) -> Result<Answered, ForwardError> {
        let budget = self.worker.retry_budgets.of(self.upstream.id);
        budget.deposit(self.upstream.settings.retry_percent);
        let mut history = History::default();
        let mut in_flight = self.begin(&history.tried).await?;
        loop {
            if let Some(record) = &mut self.record {
                record.attempt(in_flight.backend());
            }
            let failure = match self.attempt(&in_flight, history.reuse).await {
                Ok((conn, response)) => return Ok(self.answered(in_flight, conn, response)),
                Err(failure) => failure,
            };
            self.blame(in_flight.backend(), &failure);
            if let Some(record) = &mut self.record {
                record.attempt_failed(failure.error.cause());
            }
            match history.next(in_flight.backend().id, &failure) {
                None => return Err(failure.error),
                Some(Next::SameBackend) => {}
                Some(Next::AnotherBackend) => {
                    drop(in_flight);
                    match self.begin(&history.tried).await {
                        Ok(another) => in_flight = another,
                        // The failure says more than that nobody else is there.
                        Err(_nobody) => return Err(failure.error),
                    }
                }
            }
            if !budget.withdraw(Instant::now().into_std()) {
                return Err(failure.error);
            }
            let cause = failure.error.cause();
            self.worker.state().stats.retries(cause).increment();
        }
    }

    /// Counts a failure where it belongs.
    fn blame(&self, backend: &Backend, failure: &Failure) {
        if failure.blames_backend {
            self.suspect(backend.stats.failed(failure.error.cause()));
        }
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
    ) -> Answered {
        let stats = &in_flight.backend().stats;
        if response.status().is_server_error() {
            stats.responded_with_server_error();
        }
        match is_bad(&response, conn.version()) {
            true => self.suspect(stats.responded_badly()),
            false => stats.responded(),
        }
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        Answered {
            upgrade: self.sending.upgrade.take().filter(|_| switches),
            method: self.sending.method.clone(),
            response,
            lease: Lease {
                worker: Rc::clone(self.worker),
                in_flight,
                conn,
                upload: Rc::clone(&self.sending.upload),
            },
        }
    }

    /// Sends the request to one backend.
    async fn attempt(
        &self,
        in_flight: &InFlight,
        reuse: Reuse,
    ) -> Result<(BackendConn, Response<Incoming>), Failure> {
        let backend = in_flight.backend();
        let connected = self.connection(backend, reuse).await;
        let (mut conn, freshness) =
            connected.map_err(|error| Failure::new(error, Again::Elsewhere))?;
        let response = self.send(&mut conn, backend, freshness).await?;
        Ok((conn, response))
    }

    /// Sends the request on a connection and waits for the response's head.
    async fn send(
        &self,
        conn: &mut BackendConn,
        backend: &Backend,
        freshness: Freshness,
    ) -> Result<Response<Incoming>, Failure> {
        let settings = &self.upstream.settings;
        let upload = &self.sending.upload;
        let Some(body) = upload.body(settings.idle_timeout) else {
            let error = upload.error().map_or(ForwardError::NoResponse, Into::into);
            return Err(Failure::new(error, Again::No));
        };
        upload.progress();
        let sent = tokio::select! {
            biased;
            // First, as a backend that sends without end leaves no time for what comes second.
            () = self.silence() => {
                conn.note_silence();
                return Err(self.silent());
            }
            sent = conn.send(&self.sending, backend, body) => sent,
        };
        match sent {
            Ok(response) => {
                let judged = self.sending.judge(response);
                judged.map_err(|error| Failure::new(error, Again::No))
            }
            Err(failed) => {
                let is_unsent = failed.message().is_some();
                Err(self.failure(failed.error(), is_unsent, conn.version(), freshness))
            }
        }
    }

    /// What a connection that failed means for the request.
    fn failure(
        &self,
        error: &hyper::Error,
        is_unsent: bool,
        version: HttpVersion,
        freshness: Freshness,
    ) -> Failure {
        let upload = &self.sending.upload;
        if let Some(error) = upload.error() {
            return Failure::new(error.into(), Again::No);
        }
        if is_nonsense(error) {
            return Failure::new(ForwardError::BadResponse, Again::No);
        }
        let is_unprocessed = is_unsent || is_refused(error);
        let is_harmless = is_unprocessed || self.sending.method.is_idempotent();
        let again = match freshness {
            _ if !is_harmless || !upload.can_be_repeated() => Again::No,
            Freshness::Reused => Again::Afresh,
            Freshness::Fresh => Again::Elsewhere,
        };
        let error = match (freshness, version) {
            (_, HttpVersion::Http2) if is_unprocessed => ForwardError::RefusedStream,
            (Freshness::Reused, _) => ForwardError::StaleConnection,
            (Freshness::Fresh, _) => ForwardError::NoResponse,
        };
        Failure::new(error, again)
    }

    /// Waits until no response came for too long after the end of the request, or the exchange as
    /// a whole took too long. While the request is still coming, its body's own limit must come
    /// first.
    async fn silence(&self) {
        let upload = &self.sending.upload;
        let mut timer = upload.timer(self.silent_at());
        poll_fn(|cx| {
            upload.tell_the_end_to(cx.waker());
            timer.poll_until(|| self.silent_at(), cx)
        })
        .await
    }

    fn silent_at(&self) -> Instant {
        let settings = &self.upstream.settings;
        let wait = match self.sending.upload.has_ended() {
            true => settings.response_timeout,
            false => settings.response_timeout.max(settings.idle_timeout) + BODY_MARGIN,
        };
        let silent_at = self.sending.upload.progress_at() + wait;
        self.deadline
            .map_or(silent_at, |deadline| silent_at.min(deadline.at))
    }

    fn silent(&self) -> Failure {
        match self.deadline {
            Some(deadline) if deadline.at <= Instant::now() => Failure {
                // It had all of the request, and kept it.
                blames_backend: self.sending.upload.has_ended(),
                ..Failure::new(deadline.passed(), Again::No)
            },
            _ => {
                let timeout = self.upstream.settings.response_timeout;
                Failure::new(ForwardError::ResponseTimeout { timeout }, Again::No)
            }
        }
    }
}

impl Deadline {
    /// What it means that it passed.
    pub(super) fn passed(self) -> ForwardError {
        ForwardError::TotalTimeout {
            timeout: self.timeout,
        }
    }
}

/// How long a request may wait for the head of its response, all attempts together.
pub(super) fn longest_wait(upstream: &config::Upstream) -> Duration {
    let connecting = upstream.connect_timeout.saturating_mul(ATTEMPTS_MAX as u32);
    let waiting = connecting.saturating_add(upstream.queue.timeout);
    let answering = upstream.response_timeout.max(upstream.idle_timeout);
    waiting.saturating_add(answering + BODY_MARGIN)
}

/// Whether a response says that its backend cannot do its work.
fn is_bad(response: &Response<Incoming>, version: HttpVersion) -> bool {
    match response.status() {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            true
        }
        // A gRPC server that can say nothing else says it in the head.
        StatusCode::OK if version == HttpVersion::Http2 => {
            let status = response.headers().get(GRPC_STATUS);
            status.is_some_and(|status| status == GRPC_UNAVAILABLE)
        }
        _ => false,
    }
}

/// Whether an HTTP/2 backend says that it did nothing with the request (RFC 9113 section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    source.is_some_and(|error: &h2::Error| match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => true,
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    })
}

/// Whether the backend did answer, but not by what can be read (HTTP/1.1).
fn is_nonsense(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    let is_endless =
        source.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::InvalidData);
    error.is_parse() || is_endless
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_UNAVAILABLE: &str = "14";
const BODY_MARGIN: Duration = Duration::from_millis(500);
