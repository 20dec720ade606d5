//! A body on its way to the client: streamed, bounded in time, and never made to look whole when
//! it is not.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    task,
    time::{Duration, Instant, Sleep, sleep_until, timeout},
};

use crate::{
    data::{
        WorkerContext,
        connection::{Call, Connection},
        error::ForwardError,
        http::{
            backend_conn::BackendConn,
            body_error::{BodyError, is_complete},
            headers,
            record::Record,
            request_body::Upload,
        },
        timer_pool::Timer,
    },
    state::{Cause, InFlight},
};

/// A body on its way to the client.
#[derive(Debug)]
pub(in crate::data) struct ProxyBody {
    content: Content,
    /// Whether all of it was handed to the connection, or it broke off and that was counted.
    settled: bool,
    /// Why it breaks off at the next poll.
    broken: Option<Broken>,
    record: Option<Box<Record>>,
    call: Option<Call>,
}

/// Why a response breaks off.
#[derive(Clone, Copy, Debug)]
struct Broken {
    error: BodyError,
    cause: Cause,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Forwarded(Forwarded),
}

#[derive(Debug)]
struct Forwarded {
    incoming: Incoming,
    lease: Option<Lease>,
    upload: Rc<Upload>,
    idle_timeout: Duration,
    /// There from the first time that the backend makes us wait.
    idle: Option<Timer>,
    /// When the exchange as a whole must be over.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl ProxyBody {
    /// A body of our own.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            settled: true,
            content: Content::Whole(bytes),
            broken: None,
            record: None,
            call: None,
        }
    }

    /// A backend's body. One that the client does not get, as after `HEAD`, has no body.
    pub(super) fn forwarded(
        incoming: Incoming,
        has_body: bool,
        lease: Lease,
        idle_timeout: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        let upload = Rc::clone(&lease.upload);
        let is_whole = incoming.is_end_stream();
        let mut lease = Some(lease);
        if is_whole && let Some(lease) = lease.take() {
            lease.give_back();
        }
        let forwarded = Forwarded {
            incoming,
            lease,
            upload,
            idle_timeout,
            idle: None,
            deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
        };
        Self {
            settled: is_whole || !has_body,
            content: Content::Forwarded(forwarded),
            broken: None,
            record: None,
            call: None,
        }
    }

    /// Whether the client has all of it but perhaps trailers.
    fn is_complete(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Forwarded(forwarded) => is_complete(&forwarded.incoming),
        }
    }

    fn connection(&self) -> Option<&Rc<Connection>> {
        self.call.as_ref().map(Call::connection)
    }

    /// Keeps a call in flight, and its log line open, until the body is sent or given up.
    pub(super) fn hold(&mut self, call: Call, record: Option<Box<Record>>) {
        self.call = Some(call);
        self.record = record;
    }

    /// Counts what goes to the client.
    fn sent(&mut self, frame: &Frame<Bytes>) {
        if let Some(connection) = self.connection() {
            connection.progress();
        }
        if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
            record.sent(data.len() as u64);
        }
    }

    fn break_off(&mut self, broken: Broken) -> BodyError {
        self.fail(broken.cause);
        if let Some(connection) = self.connection() {
            // Never a clean-looking end: hyper closes or resets, and so must the socket.
            connection.broke_off();
        }
        broken.error
    }

    fn fail(&mut self, cause: Cause) {
        self.settled = true;
        if let Some(connection) = self.connection() {
            connection.worker().state().stats.faults(cause).increment();
        }
        if let Some(record) = &mut self.record {
            record.failed(cause);
        }
    }
}

impl Forwarded {
    /// Whoever wants the body moves the connection that it comes on.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match (&polled, &mut self.lease) {
            (Poll::Pending, Some(lease)) => lease.conn.drive(cx),
            (_, _) => return polled,
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let overdue = self.deadline.as_mut();
        if overdue.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(self.broken(BodyError::TotalTimeout))));
        }
        let polled = self.poll_incoming(cx);
        let ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if ended && let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.upload.progress();
                if let Some(trailers) = frame.trailers_mut() {
                    headers::remove_forbidden_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(self.broken(BodyError::from(&error)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let due = || self.upload.progress_at() + self.idle_timeout;
                let idle = self.idle.get_or_insert_with(|| self.upload.timer(due()));
                ready!(idle.poll_until(due, cx));
                Poll::Ready(Some(Err(self.broken(BodyError::Stalled))))
            }
        }
    }

    /// Whose fault it is: where the request's body broke, the backend could not go on.
    fn broken(&self, error: BodyError) -> Broken {
        let cause = match (self.upload.error(), error) {
            (Some(error), _) => ForwardError::from(error).cause(),
            (None, BodyError::TotalTimeout) => Cause::TotalTimeout,
            (None, BodyError::Stalled) => Cause::UpstreamTimeout,
            (None, BodyError::TooLong | BodyError::Malformed | BodyError::Broken) => {
                Cause::ResponseBroken
            }
        };
        Broken { error, cause }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(self.break_off(broken))));
        }
        let polled = match &mut self.content {
            Content::Forwarded(forwarded) => forwarded.poll_frame(cx),
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        };
        match ready!(polled) {
            Some(Ok(frame)) => {
                self.sent(&frame);
                self.settled |= self.is_complete();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(broken)) => {
                // What came before it is written first: hyper throws away what it holds.
                self.broken = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.settled = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Forwarded(forwarded) => forwarded.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Forwarded(forwarded) => forwarded.incoming.size_hint(),
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        if !self.settled {
            let cause = self
                .connection()
                .map(|connection| connection.cause_of_loss());
            self.fail(cause.unwrap_or(Cause::ClientClosed));
        }
    }
}

/// A backend and the connection to it while a request uses them.
pub(super) struct Lease {
    pub(super) worker: Rc<WorkerContext>,
    pub(super) in_flight: InFlight,
    pub(super) conn: BackendConn,
    pub(super) upload: Rc<Upload>,
}

impl Lease {
    /// Gives the connection back for the next request, if this one was read to its end.
    fn give_back(self) {
        let Self {
            worker,
            in_flight,
            conn,
            upload,
        } = self;
        if !upload.has_ended() {
            // The response came before the upload ended: what is left of it must not be taken for
            // another request, by the backend or by us.
            upload.abandon();
            return;
        }
        let mut conn = match conn {
            BackendConn::Http1(conn) => conn,
            // Others use it at the same time.
            BackendConn::Http2(_share) => return,
        };
        let backend = in_flight.backend().id;
        drop(in_flight);
        if conn.is_ready() {
            worker.conn_pool.put(backend, conn, upload.now());
            return;
        }
        task::spawn_local(async move {
            if let Ok(true) = timeout(READY_TIME_MAX, conn.becomes_ready()).await {
                worker.conn_pool.put(backend, conn, Instant::now());
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

/// What a connection may take to become ready after its response was read. It mostly is at once,
/// unless the backend left a part of the request unread.
const READY_TIME_MAX: Duration = Duration::from_secs(1);
