//! Bodies on their way through: streamed, bounded, and never standing still for too long.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    task,
    time::{Duration, Instant, Sleep, sleep, timeout},
};

use crate::{
    data::{
        WorkerContext,
        connection::{Call, Connection},
        http::conn_pool::BackendConn,
    },
    state::Backend,
};

/// Why a body came to no good end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::data) enum BodyError {
    /// Longer than it may be.
    #[error("body is too long")]
    TooLong,
    /// Nothing came for too long.
    #[error("body stood still for too long")]
    Stalled,
    /// The other side broke.
    #[error("body broke off")]
    Broken,
}

/// What is known of a request body that hyper's client owns.
#[derive(Debug)]
pub(super) struct RequestBodyState {
    /// Whether all of it was handed on.
    pub(super) ended: Cell<bool>,
    /// Why it will never be.
    pub(super) error: Cell<Option<BodyError>>,
    /// When a part of it last came.
    pub(super) progress_at: Cell<Instant>,
}

/// A client's body on its way to a backend.
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    bytes_left: u64,
    idle: IdleTimer,
    state: Rc<RequestBodyState>,
    connection: Rc<Connection>,
}

impl RequestBody {
    pub(super) fn new(
        connection: &Rc<Connection>,
        incoming: Incoming,
        bytes_max: u64,
        idle_timeout: Duration,
    ) -> Self {
        let ended = incoming.is_end_stream();
        let state = RequestBodyState {
            ended: Cell::new(ended),
            error: Cell::new(None),
            progress_at: Cell::new(Instant::now()),
        };
        Self {
            incoming: (!ended).then_some(incoming),
            bytes_left: bytes_max,
            idle: IdleTimer::new(idle_timeout),
            state: Rc::new(state),
            connection: Rc::clone(connection),
        }
    }

    /// A body that was empty from the start, again.
    pub(super) fn empty_again(connection: &Rc<Connection>, state: &Rc<RequestBodyState>) -> Self {
        Self {
            incoming: None,
            bytes_left: 0,
            idle: IdleTimer::new(Duration::ZERO),
            state: Rc::clone(state),
            connection: Rc::clone(connection),
        }
    }

    pub(super) fn state(&self) -> &Rc<RequestBodyState> {
        &self.state
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.incoming = None;
        self.state.error.set(Some(error));
        error
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        let ended = incoming.is_end_stream();
        Poll::Ready(match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle.progress();
                self.state.progress_at.set(Instant::now());
                self.connection.progress();
                self.state.ended.set(ended);
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = self.bytes_left.checked_sub(length) else {
                    return Poll::Ready(Some(Err(self.fail(BodyError::TooLong))));
                };
                self.bytes_left = left;
                Some(Ok(frame))
            }
            Poll::Ready(Some(Err(_broken))) => Some(Err(self.fail(BodyError::Broken))),
            Poll::Ready(None) => {
                self.state.progress_at.set(Instant::now());
                self.state.ended.set(true);
                None
            }
            Poll::Pending if self.idle.poll(cx).is_ready() => {
                Some(Err(self.fail(BodyError::Stalled)))
            }
            Poll::Pending => return Poll::Pending,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A body on its way to the client.
#[derive(Debug)]
pub(in crate::data) struct ProxyBody {
    content: Content,
    call: Option<Call>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Forwarded {
        incoming: Incoming,
        lease: Option<Lease>,
        idle: IdleTimer,
    },
}

impl ProxyBody {
    /// A body of our own.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            content: Content::Whole(bytes),
            call: None,
        }
    }

    /// A backend's body.
    pub(super) fn forwarded(incoming: Incoming, lease: Lease, idle_timeout: Duration) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
        let idle = IdleTimer::new(idle_timeout);
        Self {
            content: Content::Forwarded {
                incoming,
                lease,
                idle,
            },
            call: None,
        }
    }

    fn connection(&self) -> Option<&Connection> {
        self.call.as_ref().map(Call::connection)
    }

    /// Keeps a call in flight until the body is sent or given up.
    pub(super) fn hold(&mut self, call: Call) {
        self.call = Some(call);
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, lease, idle) = match &mut self.content {
            Content::Forwarded {
                incoming,
                lease,
                idle,
            } => (incoming, lease, idle),
            Content::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Whole(bytes) => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        let ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if ended && let Some(lease) = lease.take() {
            lease.give_back();
        }
        let broken = match polled {
            Poll::Ready(Some(Ok(frame))) => {
                idle.progress();
                self.connection()
                    .inspect(|connection| connection.progress());
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(_broken))) => BodyError::Broken,
            Poll::Pending => match idle.poll(cx) {
                Poll::Ready(()) => BodyError::Stalled,
                Poll::Pending => return Poll::Pending,
            },
        };
        // Never a clean-looking end: on an error hyper closes or resets, and so must the socket.
        self.connection()
            .inspect(|connection| connection.broke_off());
        Poll::Ready(Some(Err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Forwarded { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Forwarded { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// A backend and the connection to it while a request uses them.
pub(super) struct Lease {
    pub(super) worker: Rc<WorkerContext>,
    pub(super) backend: InFlight,
    pub(super) conn: BackendConn,
    pub(super) request_body: Rc<RequestBodyState>,
}

impl Lease {
    /// Gives the connection back for the next request, if this one was read to its end.
    fn give_back(self) {
        let Self {
            worker,
            backend,
            mut conn,
            request_body,
        } = self;
        if !request_body.ended.get() {
            // The response came before the upload ended: what is left of it must not be taken
            // for another request.
            return;
        }
        let backend_id = backend.0.id;
        drop(backend);
        if conn.sender.is_ready() {
            worker.conn_pool.put(backend_id, conn);
            return;
        }
        task::spawn_local(async move {
            if let Ok(Ok(())) = timeout(READY_TIME_MAX, conn.sender.ready()).await {
                worker.conn_pool.put(backend_id, conn);
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// A request in flight at a backend; ends when it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(pub(super) std::sync::Arc<Backend>);

impl InFlight {
    pub(super) fn begin(backend: &std::sync::Arc<Backend>) -> Self {
        backend.stats.begin();
        Self(std::sync::Arc::clone(backend))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.stats.end();
    }
}

/// Bounds how long a body may stand still. Costs nothing while it moves.
#[derive(Debug)]
struct IdleTimer {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            timer: None,
        }
    }

    fn progress(&mut self) {
        self.timer = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        timer.as_mut().poll(cx)
    }
}

/// What a connection may take to become ready after its response was read. It is ready as soon as
/// its task has run, unless the backend left a part of the request unread.
const READY_TIME_MAX: Duration = Duration::from_secs(1);
