//! What the access log says of one request. Made only where the log is on.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        connection::Connection,
        http::{forwarded_headers, request_body::Upload},
    },
    state::{Backend, Cause},
    telemetry::access_log::{self as log, Entry, RequestLine},
};

/// A request's line in the making; written when it is dropped.
pub(super) struct Record {
    connection: Rc<Connection>,
    began: Instant,
    time: SystemTime,
    client: IpAddr,
    method: Method,
    target: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    upstream: Option<String>,
    attempts: Vec<Attempt>,
    /// `None` while it is not answered.
    status: Option<StatusCode>,
    cause: Option<Cause>,
    first_byte: Option<Duration>,
    bytes_sent: u64,
    bytes_received: u64,
    upload: Option<Rc<Upload>>,
}

/// A backend that was tried, and why that failed.
struct Attempt {
    backend: Arc<Backend>,
    failed: Option<Cause>,
}

impl Record {
    pub(super) fn new(
        connection: &Rc<Connection>,
        request: &Request<Incoming>,
        peer: IpAddr,
    ) -> Self {
        let header = |name: HeaderName| request.headers().get(name).cloned();
        let authority = request.uri().authority();
        let authority = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        Self {
            connection: Rc::clone(connection),
            began: Instant::now(),
            time: SystemTime::now(),
            client: peer,
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            host: authority.or_else(|| header(header::HOST)),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            request_id: None,
            upstream: None,
            attempts: Vec::new(),
            status: None,
            cause: None,
            first_byte: None,
            bytes_sent: 0,
            bytes_received: 0,
            upload: None,
        }
    }

    /// Notes for whom the request is.
    pub(super) fn routed(&mut self, client: IpAddr, upstream: &str) {
        self.client = client;
        self.upstream = Some(upstream.to_owned());
    }

    /// Notes what is sent to backends.
    pub(super) fn sending(&mut self, headers: &HeaderMap, upload: &Rc<Upload>) {
        self.request_id = headers.get(&forwarded_headers::X_REQUEST_ID).cloned();
        self.upload = Some(Rc::clone(upload));
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

    /// Notes the head of the response, and why it is not a backend's.
    pub(super) fn answered(&mut self, status: StatusCode, cause: Option<Cause>) {
        self.status = Some(status);
        self.cause = cause;
        self.first_byte = cause.is_none().then(|| self.began.elapsed());
    }

    /// Notes why the response broke off.
    pub(super) fn failed(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// Notes what a tunnel carried, from and to the client.
    pub(super) fn carried(&mut self, received: u64, sent: u64) {
        self.bytes_received = received;
        self.bytes_sent = sent;
    }

    /// Counts bytes of the response's body.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes_sent += bytes;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(sink) = &self.connection.worker().access_log else {
            return;
        };
        if self.status.is_none() {
            self.cause = Some(self.connection.cause_of_loss());
        }
        let target = self.target.path_and_query();
        let uploaded = self
            .upload
            .as_ref()
            .map_or(0, |upload| upload.bytes_taken());
        let attempts: Vec<log::Attempt<'_>> = self.attempts.iter().map(Attempt::entry).collect();
        sink.write(&Entry {
            time: self.time,
            client: self.client,
            request: Some(RequestLine {
                method: self.method.as_str(),
                target: target.map_or("", |target| target.as_str()),
                version: self.version,
            }),
            host: self.host.as_ref().map_or(b"", |host| host.as_bytes()),
            status: self.status.unwrap_or(CLIENT_CLOSED_REQUEST).as_u16(),
            body_bytes_sent: self.bytes_sent,
            body_bytes_received: self.bytes_received + uploaded,
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            request_id: self.request_id.as_ref().map_or(b"", |id| id.as_bytes()),
            upstream: self.upstream.as_deref(),
            attempts: &attempts,
            cause: self.cause.map_or("ok", Cause::label),
            first_byte: self.first_byte,
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

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What nginx writes for a client that was not answered.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};
