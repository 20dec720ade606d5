//! One connection to a backend: made, used for a request, kept or closed.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::{
    task::{self, AbortHandle},
    time::{Duration, Instant},
};

use crate::{
    data::{
        executor::LocalExecutor,
        http::{
            head_limit::{HeadAllowance, HeadLimited},
            keep_alive,
            request_body::RequestBody,
            sending::Sending,
        },
    },
    net::{HttpVersion, Stream},
    state::Backend,
};

/// What a request is sent on.
#[derive(Debug)]
pub(super) enum BackendConn {
    /// A whole connection.
    Http1(Http1Conn),
    /// A share in a connection.
    Http2(Http2Share),
}

/// An HTTP/1.1 connection. Closed when it is dropped, whatever is still unwritten on it.
///
/// Whoever uses it drives it: there is no task beside the request's own, so that a request costs no
/// switch between tasks. Measured with small bodies, that takes a fifth off a request. While it is
/// kept, nobody drives it; what happened to it meanwhile is seen when it is taken.
pub(super) struct Http1Conn {
    sender: http1::SendRequest<RequestBody>,
    head_allowance: HeadAllowance,
    /// For how long it may be idle.
    idle_time: Duration,
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
    is_done: bool,
}

impl Http1Conn {
    /// Moves bytes both ways, as far as they go now.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.is_done {
            // What broke shows in the response or its body.
            self.is_done = self.driver.as_mut().poll(cx).is_ready();
        }
    }

    /// Whether it can take a request now: everything of the one before was sent and read, and the
    /// backend did not close it.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.is_done && self.sender.is_ready()
    }

    /// For how long it may be idle before it is too old to be used.
    pub(super) fn idle_time(&self) -> Duration {
        self.idle_time
    }

    /// Waits until it can take a request; `false` if it never will.
    pub(super) async fn becomes_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            if self.is_done {
                return Poll::Ready(false);
            }
            self.sender.poll_ready(cx).map(|ready| ready.is_ok())
        })
        .await
    }
}

impl fmt::Debug for Http1Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Conn").finish_non_exhaustive()
    }
}

/// An HTTP/2 connection that requests share. Closed when it is dropped.
pub(super) struct Http2Conn {
    sender: http2::SendRequest<RequestBody>,
    driver: AbortHandle,
    streams: Cell<u32>,
    /// Streams that the backend allows at a time.
    streams_max: Rc<Cell<usize>>,
    /// Whether it answered, so that its SETTINGS are known. Before, streams wait for these.
    has_answered: Cell<bool>,
    /// Whether it takes no more requests, as the backend was silent on it.
    leaving: Cell<bool>,
    /// When its last stream ended, or it was made.
    idle_since: Cell<Instant>,
}

impl Http2Conn {
    /// Whether it may carry one more request.
    pub(super) fn has_room(&self) -> bool {
        let streams = self.streams.get() as usize;
        let streams_max = match self.has_answered.get() {
            true => self.streams_max.get(),
            false => STREAMS_MAX,
        };
        !self.leaving.get() && self.sender.is_ready() && streams < streams_max
    }

    /// Whether nothing will come of it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || (self.leaving.get() && self.streams.get() == 0)
    }

    /// Since when it carries nothing; `None` while it does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// Takes a share.
    pub(super) fn share(self: &Rc<Self>) -> Http2Share {
        self.streams.set(self.streams.get() + 1);
        Http2Share(Rc::clone(self))
    }
}

impl fmt::Debug for Http2Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Conn")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Drop for Http2Conn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One request's share in an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Share(Rc<Http2Conn>);

impl Http2Share {
    /// The connection.
    pub(super) fn conn(&self) -> &Rc<Http2Conn> {
        &self.0
    }
}

impl Drop for Http2Share {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

impl BackendConn {
    /// Speaks HTTP on a new connection. Over HTTP/2 a task of its own drives it.
    pub(super) async fn open(stream: Stream, version: HttpVersion) -> hyper::Result<Self> {
        match version {
            HttpVersion::Http1 => {
                let (limited, head_allowance) = HeadLimited::new(stream);
                let mut settings = http1::Builder::new();
                settings
                    .max_header_size(RESPONSE_HEAD_BYTES_MAX)
                    .max_buf_size(READ_BYTES_MAX);
                let (sender, driver) = settings.handshake(TokioIo::new(limited)).await?;
                Ok(Self::Http1(Http1Conn {
                    sender,
                    head_allowance,
                    idle_time: Duration::ZERO,
                    driver: Box::pin(driver.with_upgrades()),
                    is_done: false,
                }))
            }
            HttpVersion::Http2 => {
                let mut settings = http2::Builder::new(LocalExecutor);
                settings
                    // The others wait until it is known how many there may be.
                    .initial_max_send_streams(1)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
                    .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
                let (sender, mut driver) = settings.handshake(TokioIo::new(stream)).await?;
                let streams_max = Rc::new(Cell::new(STREAMS_MAX));
                let allowed = Rc::clone(&streams_max);
                let driver = poll_fn(move |cx| {
                    let polled = Pin::new(&mut driver).poll(cx);
                    // Known once the backend's SETTINGS are there.
                    allowed.set(driver.current_max_send_streams().clamp(1, STREAMS_MAX));
                    polled
                });
                let conn = Http2Conn {
                    sender,
                    driver: spawn(driver),
                    streams: Cell::new(0),
                    streams_max,
                    has_answered: Cell::new(false),
                    leaving: Cell::new(false),
                    idle_since: Cell::new(Instant::now()),
                };
                Ok(Self::Http2(Rc::new(conn).share()))
            }
        }
    }

    /// Moves bytes both ways, as far as they go now. HTTP/2 does so by itself.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Self::Http1(conn) = self {
            conn.drive(cx);
        }
    }

    /// Notes that the backend did not answer on it in time: others should not wait there, too.
    pub(super) fn note_silence(&self) {
        if let Self::Http2(share) = self {
            share.0.leaving.set(true);
        }
    }

    /// What is spoken on it.
    pub(super) fn version(&self) -> HttpVersion {
        match self {
            Self::Http1(_) => HttpVersion::Http1,
            Self::Http2(_) => HttpVersion::Http2,
        }
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(
        &mut self,
        sending: &Sending,
        backend: &Backend,
        body: RequestBody,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        // Not held over a wait: what a future holds is moved with it.
        let request = sending.request(self.version(), backend, body);
        match self {
            Self::Http1(conn) => {
                conn.head_allowance.begin();
                let mut response = pin!(conn.sender.try_send_request(request));
                let response = poll_fn(|cx| {
                    conn.drive(cx);
                    response.as_mut().poll(cx)
                })
                .await;
                conn.head_allowance.end();
                if let Ok(response) = &response {
                    conn.idle_time = keep_alive::idle_time(response.headers());
                }
                response
            }
            Self::Http2(share) => {
                let response = share.0.sender.clone().try_send_request(request).await;
                share.0.has_answered.set(true);
                response
            }
        }
    }
}

fn spawn(driver: impl Future + 'static) -> AbortHandle {
    let driver = task::spawn_local(async {
        driver.await;
    });
    driver.abort_handle()
}

/// What is read of a body at a time, once it turns out to be long.
const READ_BYTES_MAX: usize = 256 * 1024;
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// What most servers allow at a time; further requests take another connection.
const STREAMS_MAX: usize = 100;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
