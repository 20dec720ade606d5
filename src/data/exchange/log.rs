//! The last stage: what the access log says of one request. Made only where the log is on.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use http::Version;
use tokio::time::Instant;

use crate::{
    message::{Kind, RequestHead},
    state::{Backend, Cause},
    telemetry::access_log::{self as log, Entry, RequestLine, Sink},
};

/// A request's line in the making.
#[derive(Debug)]
pub(in crate::data) struct Record {
    began: Instant,
    time: SystemTime,
    client: IpAddr,
    method: Box<str>,
    target: Box<str>,
    version: Version,
    host: Box<[u8]>,
    referer: Option<Box<[u8]>>,
    user_agent: Option<Box<[u8]>>,
    request_id: Box<[u8]>,
    upstream: Option<Box<str>>,
    attempts: Vec<Attempt>,
    first_byte_at: Option<Instant>,
    status: Option<u16>,
    cause: Option<Cause>,
    bytes_sent: u64,
    bytes_received: u64,
}

/// A backend that was tried, and why that failed.
#[derive(Debug)]
struct Attempt {
    backend: Arc<Backend>,
    failed: Option<Cause>,
}

impl Record {
    /// A line about the request of a head.
    pub(in crate::data) fn new(head: &RequestHead, peer: IpAddr, now: Instant) -> Self {
        let value = |name| head.fields().value(name).map(Box::from);
        let host = head.authority().or_else(|| head.fields().first(Kind::Host));
        Self {
            began: now,
            time: SystemTime::now(),
            client: peer,
            method: head.method_text().into(),
            target: head.path_and_query().into(),
            version: head.version(),
            host: host.unwrap_or_default().into(),
            referer: value(b"referer"),
            user_agent: value(b"user-agent"),
            request_id: Box::default(),
            upstream: None,
            attempts: Vec::new(),
            first_byte_at: None,
            status: None,
            cause: None,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// Notes where the request goes.
    pub(super) fn routed(&mut self, client: IpAddr, upstream: &str) {
        self.client = client;
        self.upstream = Some(upstream.into());
    }

    /// Notes the id that backends get.
    pub(super) fn sent_as(&mut self, outgoing: &RequestHead) {
        self.named(outgoing.fields().first(Kind::RequestId).unwrap_or_default());
    }

    /// Notes the request's id.
    pub(super) fn named(&mut self, id: &[u8]) {
        self.request_id = id.into();
    }

    /// Notes an attempt.
    pub(super) fn attempt(&mut self, backend: &Arc<Backend>) {
        self.attempts.push(Attempt {
            backend: Arc::clone(backend),
            failed: None,
        });
    }

    /// Notes why the last attempt failed.
    pub(super) fn attempt_failed(&mut self, cause: Cause) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failed = Some(cause);
        }
    }

    /// Notes the head of a backend's response.
    pub(super) fn responded(&mut self, status: u16, now: Instant) {
        self.status = Some(status);
        self.first_byte_at = Some(now);
    }

    /// Notes an answer of our own.
    pub(in crate::data) fn answered(&mut self, status: u16, cause: Option<Cause>) {
        self.status = Some(status);
        self.cause = cause;
    }

    /// Notes why the response broke off.
    pub(super) fn failed(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// Counts bytes of the response's body.
    pub(in crate::data) fn sent(&mut self, bytes: u64) {
        self.bytes_sent += bytes;
    }

    /// Counts bytes of the request's body.
    pub(super) fn received(&mut self, bytes: u64) {
        self.bytes_received += bytes;
    }

    /// Why it failed. A status of the 500s that a backend sent is the backend's.
    fn cause_label(&self) -> &'static str {
        match (self.cause, self.status) {
            (Some(cause), _) => cause.label(),
            (None, Some(500..)) => SERVER_ERROR,
            (None, _) => "ok",
        }
    }

    /// Writes the line.
    pub(in crate::data) fn write(&self, sink: &Sink) {
        let attempts: Vec<log::Attempt<'_>> = self.attempts.iter().map(Attempt::entry).collect();
        let first_byte = self.first_byte_at.map(|at| at - self.began);
        sink.write(&Entry {
            time: self.time,
            client: self.client,
            request: Some(RequestLine {
                method: &self.method,
                target: &self.target,
                version: self.version,
            }),
            host: &self.host,
            status: self.status.unwrap_or(CLIENT_CLOSED_REQUEST),
            body_bytes_sent: self.bytes_sent,
            body_bytes_received: self.bytes_received,
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
            request_id: &self.request_id,
            upstream: self.upstream.as_deref(),
            attempts: &attempts,
            cause: self.cause_label(),
            first_byte,
            total: self.began.elapsed(),
        });
    }
}

impl Attempt {
    fn entry(&self) -> log::Attempt<'_> {
        log::Attempt {
            backend: &*self.backend,
            failed: self.failed.map(Cause::label),
        }
    }
}

/// The cause of a response of the 500s that a backend sent.
const SERVER_ERROR: &str = "server_error";
/// What nginx writes for a client that was not answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;
