//! A body on its way to the client, with the call and the log line that last as long.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        connection::{Call, Connection},
        http::{
            body_error::BodyError,
            lease::Lease,
            record::Record,
            relayed_body::{Broken, RelayedBody},
        },
    },
    state::{Cause, Protocol},
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

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Relayed(Relayed),
}

/// A backend's body, shared with who looks after it while nobody asks for it.
#[derive(Debug)]
struct Relayed {
    body: Rc<RefCell<RelayedBody>>,
    is_watched: bool,
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
        let is_whole = incoming.is_end_stream();
        let body = RelayedBody::new(incoming, lease, idle_timeout, deadline);
        Self {
            settled: is_whole || !has_body,
            content: Content::Relayed(Relayed {
                body: Rc::new(RefCell::new(body)),
                is_watched: false,
            }),
            broken: None,
            record: None,
            call: None,
        }
    }

    /// Whether the client has all of it but perhaps trailers.
    fn is_complete(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Relayed(relayed) => relayed.body.borrow().is_complete(),
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

    /// From now on the client may leave it unpolled.
    fn be_watched(&mut self) {
        let (Content::Relayed(relayed), Some(call)) = (&mut self.content, &self.call) else {
            return;
        };
        let connection = call.connection();
        if connection.protocol() == Protocol::Http2 && !relayed.is_watched {
            relayed.is_watched = true;
            let worker = connection.worker();
            let idle_timeout = worker.connections.idle_timeout;
            worker.unpolled_bodies.watch(&relayed.body, idle_timeout);
        }
    }

    /// Why it is dropped before its end.
    fn cause_of_loss(&self) -> Cause {
        let given_up = match &self.content {
            Content::Whole(_) => None,
            Content::Relayed(relayed) => relayed.body.borrow().given_up(),
        };
        match (given_up, self.connection()) {
            (Some(broken), _) => broken.cause,
            (None, Some(connection)) => connection.cause_of_loss(),
            (None, None) => Cause::ClientClosed,
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
            Content::Relayed(relayed) => relayed.body.borrow_mut().poll_frame(cx),
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        };
        match ready!(polled) {
            Some(Ok(frame)) => {
                self.sent(&frame);
                match self.is_complete() {
                    true => self.settled = true,
                    false => self.be_watched(),
                }
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
            Content::Relayed(relayed) => relayed.body.borrow().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Relayed(relayed) => relayed.body.borrow().size_hint(),
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        if !self.settled {
            self.fail(self.cause_of_loss());
        }
    }
}
