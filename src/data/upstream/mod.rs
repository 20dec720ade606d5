//! Connections to backends: opened, kept for the next request, shared by requests where the
//! backend speaks HTTP/2. Knows requests and responses, but no route, no retry and no client.

use std::{
    rc::Rc,
    task::{Poll, ready},
    time::Duration,
};

use crate::{
    config::Scheme,
    data::stream::{HeadRead, Http1Stream, MessageStream, StreamFault, Turn},
    http1::{BodyEncoder, HeadFault, parse_response},
    message::{Framing, RequestHead, Towards, keep_alive_timeout, response_framing},
    net::{HttpVersion, Transport},
    state::BackendFile,
};

mod connect;
mod http2;
mod pick;
mod pool;
mod suspect;

pub(in crate::data) use connect::{Connected, Reuse, connect, no_file_left, unreached};
pub(in crate::data) use http2::{Http2Connection, Http2Request};
pub(in crate::data) use pick::{pick, wait_in_queue};
pub(in crate::data) use pool::ConnPool;
pub(in crate::data) use suspect::{failed, suspect};

/// What one request has of a backend's connections.
#[derive(Debug)]
pub(in crate::data) enum UpstreamConnection {
    /// A connection of its own.
    Http1(Box<Http1Upstream>),
    /// A stream of a shared one.
    Http2(Box<Http2Request>),
}

/// An HTTP/1.1 connection to a backend.
#[derive(Debug)]
pub(in crate::data) struct Http1Upstream {
    stream: MessageStream,
    /// For how long it may be kept idle, as its last response said.
    idle_time: Duration,
    /// Whether the last response allows another request.
    is_keep_alive: bool,
    /// Bytes of interim responses so far.
    interim_bytes: usize,
    file: BackendFile,
}

/// A request as it is sent, whatever version of HTTP the backend speaks.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Outgoing<'a> {
    pub(in crate::data) head: &'a RequestHead,
    /// What HTTP/2 says of the backend.
    pub(in crate::data) scheme: Scheme,
    pub(in crate::data) body: Framing,
    /// Whether the client reads trailers. Only HTTP/2 says so to backends.
    pub(in crate::data) wants_trailers: bool,
}

/// What came of waiting for the head of a response. The head is in the scratch buffers.
#[derive(Debug)]
pub(in crate::data) enum ResponseRead {
    /// An interim response; more follows.
    Interim,
    /// The response, with a body framed like this.
    Final(Framing),
    /// The connection or stream ended without one.
    Broken(StreamFault),
    /// What came cannot be read.
    Unreadable,
}

impl UpstreamConnection {
    /// Speaks HTTP on a new connection. Over HTTP/2 a task of its own drives it.
    ///
    /// # Errors
    ///
    /// When the backend does not speak HTTP/2 although it should.
    pub(in crate::data) async fn open(
        transport: Transport,
        version: HttpVersion,
        file: BackendFile,
    ) -> Result<Self, StreamFault> {
        match version {
            HttpVersion::Http1 => Ok(Self::Http1(Box::new(Http1Upstream::new(transport, file)))),
            HttpVersion::Http2 => {
                let connection = Http2Connection::open(transport, file).await?;
                Ok(Self::Http2(Box::new(Http2Request::new(&Rc::new(
                    connection,
                )))))
            }
        }
    }

    /// What is spoken on it.
    pub(in crate::data) fn version(&self) -> HttpVersion {
        match self {
            Self::Http1(_) => HttpVersion::Http1,
            Self::Http2(_) => HttpVersion::Http2,
        }
    }

    /// The request's side of it.
    pub(in crate::data) fn stream(&mut self) -> &mut MessageStream {
        match self {
            Self::Http1(connection) => &mut connection.stream,
            Self::Http2(request) => request.stream(),
        }
    }

    /// Sends the head of a request, with what follows it where that is little.
    ///
    /// # Errors
    ///
    /// When the connection takes no request any more. Nothing of it was sent then.
    pub(in crate::data) fn send_head(
        &mut self,
        turn: &mut Turn<'_, '_>,
        request: Outgoing<'_>,
    ) -> Result<(), StreamFault> {
        match self {
            Self::Http1(connection) => {
                connection.send_head(request.head, request.body);
                Ok(())
            }
            Self::Http2(stream) => stream.send_head(turn, request),
        }
    }

    /// Waits for the head of a response.
    pub(in crate::data) fn poll_response(
        &mut self,
        turn: &mut Turn<'_, '_>,
        to_head: bool,
    ) -> Poll<ResponseRead> {
        match self {
            Self::Http1(connection) => connection.poll_response(turn, to_head),
            Self::Http2(request) => request.poll_response(turn, to_head),
        }
    }

    /// Notes that the backend did not answer on it in time: further requests take another.
    pub(in crate::data) fn note_silence(&self) {
        if let Self::Http2(request) = self {
            request.connection().leave();
        }
    }

    /// The raw connection, for what follows a switch of protocols.
    pub(in crate::data) fn into_http1(self) -> Option<(Http1Stream, BackendFile)> {
        match self {
            Self::Http1(connection) => match connection.stream {
                MessageStream::Http1(stream) => Some((stream, connection.file)),
                MessageStream::Http2(_) => None,
            },
            Self::Http2(_) => None,
        }
    }
}

impl Http1Upstream {
    /// A new connection.
    pub(in crate::data) fn new(transport: Transport, file: BackendFile) -> Self {
        Self {
            stream: MessageStream::Http1(Http1Stream::new(transport, Vec::new())),
            idle_time: IDLE_TIME_USUAL,
            is_keep_alive: true,
            interim_bytes: 0,
            file,
        }
    }

    fn http1(&mut self) -> Option<&mut Http1Stream> {
        match &mut self.stream {
            MessageStream::Http1(stream) => Some(stream),
            MessageStream::Http2(_) => None,
        }
    }

    fn send_head(&mut self, head: &RequestHead, body: Framing) {
        self.interim_bytes = 0;
        let Some(stream) = self.http1() else {
            return;
        };
        stream.send_head(head.as_http1());
        stream.send_body(BodyEncoder::for_request(body), Some(Towards::Backend));
        // More than the head of the response is no body before that was read.
        stream.receive(Framing::UntilEnd);
    }

    fn poll_response(&mut self, turn: &mut Turn<'_, '_>, to_head: bool) -> Poll<ResponseRead> {
        let Some(stream) = self.http1() else {
            return Poll::Ready(ResponseRead::Unreadable);
        };
        let mut length = 0;
        let read = stream.poll_head(turn, HEAD_BYTES_MAX, |bytes, heads| {
            let parsed = parse_response(bytes, heads.response);
            length = parsed.ok().flatten().unwrap_or(0);
            parsed
        });
        match ready!(read) {
            HeadRead::Complete => Poll::Ready(self.judge(turn, to_head, length)),
            HeadRead::Ended | HeadRead::Broken => {
                Poll::Ready(ResponseRead::Broken(StreamFault::Broken))
            }
            HeadRead::TooLong
            | HeadRead::Refused(
                HeadFault::Malformed(_) | HeadFault::TooManyFields | HeadFault::Target(_),
            ) => Poll::Ready(ResponseRead::Unreadable),
        }
    }

    fn judge(&mut self, turn: &Turn<'_, '_>, to_head: bool, length: usize) -> ResponseRead {
        let head = &turn.scratch.response;
        if head.is_interim() && head.status() != 101 {
            self.interim_bytes += length;
            return match self.interim_bytes > INTERIM_BYTES_MAX {
                true => ResponseRead::Unreadable,
                false => ResponseRead::Interim,
            };
        }
        let Ok(framing) = response_framing(head, to_head) else {
            return ResponseRead::Unreadable;
        };
        self.idle_time = idle_time(keep_alive_timeout(head.fields()));
        self.is_keep_alive = head.is_keep_alive() && framing != Framing::UntilEnd;
        if let Some(stream) = self.http1() {
            stream.receive(framing);
        }
        ResponseRead::Final(framing)
    }

    /// For how long it may be idle before it is too old to be used.
    pub(in crate::data) fn idle_time(&self) -> Duration {
        self.idle_time
    }

    /// Whether it may carry another request.
    pub(in crate::data) fn is_reusable(&mut self) -> bool {
        let is_keep_alive = self.is_keep_alive;
        self.http1()
            .is_some_and(|stream| is_keep_alive && stream.is_reusable())
    }

    /// Whether it is still open and silent while it waits in the pool.
    pub(in crate::data) fn is_quiet(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        self.http1().is_some_and(|stream| stream.is_quiet(turn))
    }
}

/// For how long a connection is kept idle, so that mostly this side closes it: where the backend
/// does, that races with the next request. Three quarters of what the backend says; of others it
/// is assumed that they wait no less than Node, which closes after 5 s.
fn idle_time(said: Option<Duration>) -> Duration {
    said.map_or(IDLE_TIME_USUAL, |said| {
        (said.saturating_mul(3) / 4).min(IDLE_TIME_MAX)
    })
}

const IDLE_TIME_USUAL: Duration = Duration::from_secs(4);
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest head of a response.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What a backend may send before the head of its response. One that sends interim responses
/// without end would keep the worker from its other connections.
const INTERIM_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_for_less_than_the_backend_says() {
        for (said, kept) in [
            (None, IDLE_TIME_USUAL),
            (Some(5), Duration::from_millis(3750)),
            (Some(0), Duration::ZERO),
            (Some(65), IDLE_TIME_MAX),
            (Some(u64::MAX), IDLE_TIME_MAX),
        ] {
            assert_eq!(idle_time(said.map(Duration::from_secs)), kept, "{said:?}");
        }
    }
}
