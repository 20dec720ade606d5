//! What one poll of a connection works with. Nothing of it outlives the poll, so that one worker
//! needs it once, and a connection that waits holds none of it.

use std::{task::Context, time::SystemTime};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use tokio::time::Instant;

use crate::message::{RequestHead, ResponseHead};

/// The buffers of one worker that every poll uses anew.
#[derive(Debug)]
pub(in crate::data) struct Scratch {
    /// What is read into. Longer than a socket's usual content, so that one read empties it.
    pub(in crate::data) bytes: Box<[u8]>,
    /// The request that was read last.
    pub(in crate::data) request: RequestHead,
    /// The response that was read last.
    pub(in crate::data) response: ResponseHead,
    /// The response that is sent.
    pub(in crate::data) outgoing: ResponseHead,
    /// The time, as responses say it.
    pub(in crate::data) date: Date,
    /// Where small copies share an allocation.
    pub(in crate::data) arena: Arena,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            bytes: vec![0; READ_BYTES_MAX].into(),
            request: RequestHead::default(),
            response: ResponseHead::default(),
            outgoing: ResponseHead::default(),
            date: Date::default(),
            arena: Arena::default(),
        }
    }
}

/// The `Date` of responses (RFC 9110 section 6.6.1), written anew each second.
#[derive(Debug)]
pub(in crate::data) struct Date(HeaderValue);

impl Default for Date {
    fn default() -> Self {
        let mut date = Self(HeaderValue::from_static(""));
        date.tick();
        date
    }
}

impl Date {
    /// Writes the current time.
    pub(in crate::data) fn tick(&mut self) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        self.0 = HeaderValue::try_from(now).expect("a date is text");
    }

    pub(in crate::data) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// For HTTP/2. Costs a count.
    pub(in crate::data) fn to_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// One poll of a connection.
pub(in crate::data) struct Turn<'a, 'b> {
    /// What is woken.
    pub(in crate::data) cx: &'a mut Context<'b>,
    /// When the poll began.
    pub(in crate::data) now: Instant,
    /// The worker's buffers.
    pub(in crate::data) scratch: &'a mut Scratch,
}

impl<'b> Turn<'_, 'b> {
    /// What sending needs of it.
    pub(in crate::data) fn outlet(&mut self) -> Outlet<'_, 'b> {
        Outlet {
            cx: self.cx,
            arena: &mut self.scratch.arena,
        }
    }
}

/// What sending a piece of a body needs, while the piece itself may stand in the scratch buffers.
pub(in crate::data) struct Outlet<'a, 'b> {
    pub(in crate::data) cx: &'a mut Context<'b>,
    pub(in crate::data) arena: &'a mut Arena,
}

/// Makes shared bytes of slices. Most copies cost no allocation of their own.
#[derive(Debug, Default)]
pub(in crate::data) struct Arena(BytesMut);

impl Arena {
    /// A copy.
    pub(in crate::data) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SMALL_BYTES_MAX {
            return Bytes::copy_from_slice(bytes);
        }
        if self.0.capacity() < bytes.len() {
            self.0.reserve(ARENA_BYTES);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

/// The longest read: a long body passes with few system calls.
pub(in crate::data) const READ_BYTES_MAX: usize = 256 * 1024;
const SMALL_BYTES_MAX: usize = 4 * 1024;
/// A response that a slow client leaves in HTTP/2's buffers keeps this much alive.
const ARENA_BYTES: usize = 16 * 1024;
