//! What the access log says of one request. Made only where the log is on.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        WorkerContext,
        http::{headers, request_body::Upload},
    },
    state::{Backend, Cause},
    telemetry::access_log::{Entry, RequestLine},
};

/// A request's line in the making; written when it is dropped.
pub(super) struct Record {
    worker: Rc<WorkerContext>,
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
    backend: Option<Arc<Backend>>,
    attempts: u32,
    status: StatusCode,
    cause: Option<Cause>,
    first_byte: Option<Duration>,
    bytes_sent: u64,
    upload: Option<Rc<Upload>>,
}

impl Record {
    pub(super) fn new(
        worker: &Rc<WorkerContext>,
        request: &Request<Incoming>,
        peer: IpAddr,
    ) -> Self {
        let header = |name: HeaderName| request.headers().get(name).cloned();
        let authority = request.uri().authority();
        let authority = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        Self {
            worker: Rc::clone(worker),
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
            backend: None,
            attempts: 0,
            // What nginx writes for a client that is gone before it was answered.
            status: CLIENT_CLOSED_REQUEST,
            cause: Some(Cause::ClientClosed),
            first_byte: None,
            bytes_sent: 0,
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
        self.request_id = headers.get(&headers::X_REQUEST_ID).cloned();
        self.upload = Some(Rc::clone(upload));
    }

    /// Notes an attempt.
    pub(super) fn attempt(&mut self, backend: &Arc<Backend>) {
        self.attempts += 1;
        self.backend = Some(Arc::clone(backend));
    }

    /// Notes the head of the response, and why it is not a backend's.
    pub(super) fn answered(&mut self, status: StatusCode, cause: Option<Cause>) {
        self.status = status;
        self.cause = cause;
        self.first_byte = cause.is_none().then(|| self.began.elapsed());
    }

    /// Notes why the response broke off.
    pub(super) fn failed(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// Counts bytes of the response's body.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes_sent += bytes;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(sink) = &self.worker.access_log else {
            return;
        };
        let target = self.target.path_and_query();
        let backend = self.backend.as_deref();
        let upload = self.upload.as_ref();
        sink.write(&Entry {
            time: self.time,
            client: self.client,
            request: Some(RequestLine {
                method: self.method.as_str(),
                target: target.map_or("", |target| target.as_str()),
                version: self.version,
            }),
            host: self.host.as_ref().map_or(b"", |host| host.as_bytes()),
            status: self.status.as_u16(),
            body_bytes_sent: self.bytes_sent,
            body_bytes_received: upload.map_or(0, |upload| upload.bytes_taken()),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            request_id: self.request_id.as_ref().map_or(b"", |id| id.as_bytes()),
            upstream: self.upstream.as_deref(),
            backend: backend.map(|backend| backend as _),
            attempts: self.attempts,
            cause: self.cause.map_or("ok", Cause::label),
            first_byte: self.first_byte,
            total: self.began.elapsed(),
        });
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};
