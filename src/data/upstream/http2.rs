//! HTTP/2 connections to backends, which requests share.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
};

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use http::{HeaderValue, header};
use tokio::{
    task::{self, AbortHandle},
    time::Instant,
};

use crate::{
    data::{
        stream::{Http2Stream, MessageStream, StreamFault, Turn, read_response, to_request},
        upstream::{Outgoing, ResponseRead},
    },
    message::{Framing, response_framing},
    net::Transport,
    state::BackendFile,
};

/// An HTTP/2 connection to a backend. Closed when it is dropped.
pub(in crate::data) struct Http2Connection {
    sender: SendRequest<Bytes>,
    driver: AbortHandle,
    state: Rc<State>,
    /// Streams that requests have on it.
    streams: Cell<u32>,
    /// When its last stream ended, or it was opened.
    idle_since: Cell<Instant>,
    _file: BackendFile,
}

/// What the driver tells of a connection.
#[derive(Debug)]
struct State {
    /// Streams that the backend allows at a time. One until its SETTINGS are known.
    streams_max: Cell<usize>,
    /// Whether the backend answered a request, so that its SETTINGS are known.
    has_answered: Cell<bool>,
    lifecycle: Cell<Lifecycle>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lifecycle {
    Open,
    /// It takes no new request, as the backend was silent on it.
    Leaving,
    Closed,
}

impl Http2Connection {
    /// Opens a connection and starts the task that drives it.
    ///
    /// # Errors
    ///
    /// When the connection breaks at once.
    pub(in crate::data) async fn open(
        transport: Transport,
        file: BackendFile,
    ) -> Result<Self, StreamFault> {
        let mut settings = client::Builder::new();
        settings
            .enable_push(false)
            // The others wait until it is known how many there may be.
            .initial_max_send_streams(1)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_local_error_reset_streams(None)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
        let (sender, mut connection) = settings.handshake(transport).await?;
        let state = Rc::new(State {
            streams_max: Cell::new(STREAMS_MAX),
            has_answered: Cell::new(false),
            lifecycle: Cell::new(Lifecycle::Open),
        });
        let seen = Rc::clone(&state);
        let driver = task::spawn_local(async move {
            poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                let allowed = connection.max_concurrent_send_streams();
                seen.streams_max.set(allowed.clamp(1, STREAMS_MAX));
                polled.map(|_why| seen.lifecycle.set(Lifecycle::Closed))
            })
            .await;
        });
        Ok(Self {
            sender,
            driver: driver.abort_handle(),
            state,
            streams: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            _file: file,
        })
    }

    /// Whether it may carry one more request.
    pub(in crate::data) fn has_room(&self) -> bool {
        let streams_max = match self.state.has_answered.get() {
            true => self.state.streams_max.get(),
            false => STREAMS_MAX,
        };
        self.state.lifecycle.get() == Lifecycle::Open && (self.streams.get() as usize) < streams_max
    }

    /// Whether it will carry nothing any more.
    pub(in crate::data) fn is_over(&self) -> bool {
        match self.state.lifecycle.get() {
            Lifecycle::Open => false,
            Lifecycle::Leaving => self.streams.get() == 0,
            Lifecycle::Closed => true,
        }
    }

    /// Since when it carries nothing; `None` while it does.
    pub(in crate::data) fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// Takes no new request from now on.
    pub(in crate::data) fn leave(&self) {
        if self.state.lifecycle.get() == Lifecycle::Open {
            self.state.lifecycle.set(Lifecycle::Leaving);
        }
    }
}

impl fmt::Debug for Http2Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Connection")
            .field("state", &self.state)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One request on a shared connection.
pub(in crate::data) struct Http2Request {
    connection: Rc<Http2Connection>,
    stream: MessageStream,
    response: Option<ResponseFuture>,
    interims: usize,
}

impl Http2Request {
    /// Takes a place on a connection.
    pub(in crate::data) fn new(connection: &Rc<Http2Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self {
            connection: Rc::clone(connection),
            stream: MessageStream::Http2(Http2Stream::to_backend(None)),
            response: None,
            interims: 0,
        }
    }

    /// The connection.
    pub(in crate::data) fn connection(&self) -> &Rc<Http2Connection> {
        &self.connection
    }

    pub(super) fn stream(&mut self) -> &mut MessageStream {
        &mut self.stream
    }

    pub(super) fn send_head(
        &mut self,
        turn: &mut Turn<'_, '_>,
        outgoing: Outgoing<'_>,
    ) -> Result<(), StreamFault> {
        let request = to_request(outgoing.head, outgoing.scheme, &mut turn.scratch.arena);
        let mut request = request.ok_or(StreamFault::Broken)?;
        if outgoing.wants_trailers {
            let trailers = HeaderValue::from_static("trailers");
            request.headers_mut().insert(header::TE, trailers);
        }
        let ends = matches!(outgoing.body, Framing::Empty | Framing::Length(0));
        // A clone of its own: the original would wait for one that the backend did not admit yet.
        let mut sender = self.connection.sender.clone();
        let (response, sender) = sender.send_request(request, ends)?;
        let sender = (!ends).then_some(sender);
        self.stream = MessageStream::Http2(Http2Stream::to_backend(sender));
        self.response = Some(response);
        Ok(())
    }

    pub(super) fn poll_response(
        &mut self,
        turn: &mut Turn<'_, '_>,
        to_head: bool,
    ) -> Poll<ResponseRead> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(ResponseRead::Broken(StreamFault::Broken));
        };
        if let Poll::Ready(Some(interim)) = response.poll_informational(turn.cx) {
            self.interims += 1;
            return Poll::Ready(match interim {
                Ok(_) if self.interims > INTERIMS_MAX => ResponseRead::Unreadable,
                Ok(interim) => {
                    read_response(&interim.into_parts().0, &mut turn.scratch.response);
                    ResponseRead::Interim
                }
                Err(error) => ResponseRead::Broken(error.into()),
            });
        }
        let (parts, receiver) = match ready!(Pin::new(response).poll(turn.cx)) {
            Ok(response) => response.into_parts(),
            Err(error) => return Poll::Ready(ResponseRead::Broken(error.into())),
        };
        self.response = None;
        self.connection.state.has_answered.set(true);
        read_response(&parts, &mut turn.scratch.response);
        let body = match response_framing(&turn.scratch.response, to_head) {
            Ok(Framing::UntilEnd) if receiver.is_end_stream() => Framing::Length(0),
            Ok(framing) => framing,
            Err(_fault) => return Poll::Ready(ResponseRead::Unreadable),
        };
        if let MessageStream::Http2(stream) = &mut self.stream {
            stream.respond_with(receiver, body);
        }
        Poll::Ready(ResponseRead::Final(body))
    }
}

impl fmt::Debug for Http2Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Request")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Drop for Http2Request {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        connection.idle_since.set(Instant::now());
    }
}

/// The longest head of a response, as HPACK counts it.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// What most servers allow at a time; further requests take another connection.
const STREAMS_MAX: usize = 100;
/// What a slow client can make this process hold for one stream.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// All streams at once, so that those which stand still never stop another.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
const INTERIMS_MAX: usize = 64;
