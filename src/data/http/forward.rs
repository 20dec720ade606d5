//! One request to one backend, or to another if nothing of it was delivered.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use http::{HeaderValue, Request, Response, Uri, Version, header, request, uri::PathAndQuery};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    data::{
        WorkerContext,
        connection::Connection,
        error::ForwardError,
        http::{
            ProxyBody,
            body::{BodyError, InFlight, Lease, RequestBody, RequestBodyState},
            conn_pool::BackendConn,
            headers,
        },
    },
    route::{Prefix, Route},
    state::{Backend, HttpSettings, Snapshot, Upstream},
};

/// Where a request came in, and what it is answered by.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Rc<Connection>,
    worker: Rc<WorkerContext>,
    snapshot: Arc<Snapshot>,
    listener: usize,
    peer: IpAddr,
}

/// What an attempt on one connection came to.
enum Attempt {
    Response(Response<Incoming>, BackendConn),
    /// The connection was closed before the request was written.
    NotSent(Request<RequestBody>),
    /// Written, at least in part, and nothing came back.
    Lost,
}

impl Exchange {
    pub(super) fn new(connection: &Rc<Connection>, listener: usize, peer: IpAddr) -> Self {
        let worker = Rc::clone(connection.worker());
        Self {
            connection: Rc::clone(connection),
            snapshot: worker.shared.snapshot.load_full(),
            worker,
            listener,
            peer,
        }
    }

    /// Forwards a request and returns the response with its body still streaming.
    pub(super) async fn forward(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ProxyBody>, ForwardError> {
        let settings = self
            .snapshot
            .http
            .get(self.listener)
            .ok_or(ForwardError::NoRoute)?;
        let host = host_of(&request)?;
        let route = settings
            .router
            .route(host.to_str().unwrap_or_default(), request.uri().path())
            .ok_or(ForwardError::NoRoute)?;
        let upstream = self
            .snapshot
            .upstreams
            .get(route.upstream)
            .ok_or(ForwardError::NoRoute)?;
        if announced_bytes(&request) > settings.body_limit {
            return Err(ForwardError::BodyLimit {
                bytes_max: settings.body_limit,
            });
        }
        let (head, incoming) = request.into_parts();
        let unknown_length = !incoming.is_end_stream() && incoming.size_hint().exact().is_none();
        let body = RequestBody::new(
            &self.connection,
            incoming,
            settings.body_limit,
            upstream.idle_timeout,
        );
        let head = self.backend_head(head, unknown_length, &host, route, settings)?;
        self.forward_to(upstream, Request::from_parts(head, body))
            .await
    }

    /// The head as the backend gets it.
    fn backend_head(
        &self,
        mut head: request::Parts,
        unknown_length: bool,
        host: &HeaderValue,
        route: &Route,
        settings: &HttpSettings,
    ) -> Result<request::Parts, ForwardError> {
        let whole = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = match route.prefix {
            Prefix::Keep => whole,
            Prefix::Strip => {
                let prefix = route.path.trim_end_matches('/');
                whole.strip_prefix(prefix).unwrap_or(whole)
            }
        };
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        head.uri = Uri::try_from(path)
            .map_err(|_source| ForwardError::BadRequest("the path is malformed"))?;
        head.version = Version::HTTP_11;
        if !headers::is_clearly_framed(&head.headers) {
            return Err(ForwardError::BadRequest(
                "a transfer-encoding other than chunked",
            ));
        }
        headers::remove_hop_by_hop(&mut head.headers);
        if unknown_length {
            // hyper would send no body at all with a GET that does not say that it has one.
            head.headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
        headers::join_cookies(&mut head.headers);
        head.headers.insert(header::HOST, host.clone());
        headers::set_forwarded(
            &mut head.headers,
            self.peer,
            host,
            &settings.trusted_proxies,
        );
        Ok(head)
    }

    /// Tries backends until one took the request. Only a connect failure, after which nothing
    /// was delivered, moves on to the next.
    async fn forward_to(
        &self,
        upstream: &Upstream,
        request: Request<RequestBody>,
    ) -> Result<Response<ProxyBody>, ForwardError> {
        let mut request = request;
        let mut tried = Vec::new();
        let mut failed = ForwardError::NoBackend {
            upstream: Arc::clone(&upstream.name),
        };
        while tried.len() < BACKENDS_TRIED_MAX {
            let Some(backend) = upstream.pick(&tried, |below| fastrand::usize(..below)) else {
                return Err(failed);
            };
            let in_flight = InFlight::begin(backend);
            let (conn, response) = match self.try_backend(upstream, backend, request).await {
                Ok(answered) => answered,
                Err((error, None)) => {
                    backend.stats.failed();
                    return Err(error);
                }
                Err((error, Some(unsent))) => {
                    backend.stats.failed();
                    tried.push(backend.id);
                    failed = error;
                    request = *unsent;
                    continue;
                }
            };
            backend.stats.responded();
            let (mut response, request_body) = response;
            headers::remove_hop_by_hop(response.headers_mut());
            let lease = Lease {
                worker: Rc::clone(&self.worker),
                backend: in_flight,
                conn,
                request_body,
            };
            let idle_timeout = upstream.idle_timeout;
            return Ok(response.map(|incoming| ProxyBody::forwarded(incoming, lease, idle_timeout)));
        }
        Err(failed)
    }

    /// Sends the request on a kept connection if there is one, else on a fresh one. An error
    /// comes with the request if nothing of it was delivered.
    async fn try_backend(
        &self,
        upstream: &Upstream,
        backend: &Arc<Backend>,
        request: Request<RequestBody>,
    ) -> Result<
        (BackendConn, (Response<Incoming>, Rc<RequestBodyState>)),
        (ForwardError, Option<Box<Request<RequestBody>>>),
    > {
        let body = Rc::clone(request.body().state());
        let timeouts = Timeouts {
            response: upstream.response_timeout,
            idle: upstream.idle_timeout,
        };
        let mut request = request;
        if let Some(conn) = self.worker.conn_pool.take(backend.id) {
            let replay = replayable(&request);
            match send(conn, request, &body, timeouts)
                .await
                .map_err(|error| (error, None))?
            {
                Attempt::Response(response, conn) => return Ok((conn, (response, body))),
                Attempt::NotSent(unsent) => request = unsent,
                // The backend may have closed while it was idle (RFC 9112 section 9.3.1), so it is
                // sent once more, if that can do no harm.
                Attempt::Lost => match replay {
                    Some(head) => {
                        request = head.map(|()| RequestBody::empty_again(&self.connection, &body))
                    }
                    None => return Err((ForwardError::NoResponse, None)),
                },
            }
        }
        let conn = match connect(backend, upstream.connect_timeout).await {
            Ok(conn) => conn,
            Err(error) => return Err((error, Some(Box::new(request)))),
        };
        match send(conn, request, &body, timeouts)
            .await
            .map_err(|error| (error, None))?
        {
            Attempt::Response(response, conn) => Ok((conn, (response, body))),
            Attempt::NotSent(unsent) => Err((ForwardError::NoResponse, Some(Box::new(unsent)))),
            Attempt::Lost => Err((ForwardError::NoResponse, None)),
        }
    }
}

/// The head again, if the request may be sent twice and can be: an idempotent method without a
/// body.
fn replayable(request: &Request<RequestBody>) -> Option<Request<()>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

async fn connect(
    backend: &Backend,
    connect_timeout: Duration,
) -> Result<BackendConn, ForwardError> {
    let addr = || backend.addr.to_string();
    let connecting = TcpStream::connect((backend.addr.host.as_str(), backend.addr.port));
    let stream = match timeout(connect_timeout, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => {
            return Err(ForwardError::Connect {
                addr: addr(),
                source,
            });
        }
        Err(_elapsed) => {
            return Err(ForwardError::ConnectTimeout {
                addr: addr(),
                timeout: connect_timeout,
            });
        }
    };
    let _best_effort = stream.set_nodelay(true);
    let handshake = http1::Builder::new()
        .max_buf_size(RESPONSE_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream));
    let (conn, driver) = handshake
        .await
        .map_err(|_source| ForwardError::NoResponse)?;
    Ok(BackendConn::spawn(conn, driver))
}

/// Sends a request on a connection and waits for the response's head.
async fn send(
    mut conn: BackendConn,
    request: Request<RequestBody>,
    body: &RequestBodyState,
    timeouts: Timeouts,
) -> Result<Attempt, ForwardError> {
    body.progress_at.set(Instant::now());
    let sent = {
        let sending = conn.sender.try_send_request(request);
        tokio::select! {
            sent = sending => sent,
            () = no_response(body, timeouts) => return Err(ForwardError::ResponseTimeout { timeout: timeouts.response }),
        }
    };
    match sent {
        Ok(response) if response.status().is_informational() => Err(ForwardError::UnaskedUpgrade),
        Ok(response) if !headers::is_clearly_framed(response.headers()) => {
            Err(ForwardError::NoResponse)
        }
        Ok(response) => Ok(Attempt::Response(response, conn)),
        Err(mut failed) => match (body.error.get(), failed.take_message()) {
            (Some(error), _) => Err(ForwardError::from(error)),
            (None, Some(unsent)) => Ok(Attempt::NotSent(unsent)),
            (None, None) => Ok(Attempt::Lost),
        },
    }
}

/// Waits until no response came for too long after the end of the request. While the request is
/// still coming, its body's own limit must come first.
async fn no_response(body: &RequestBodyState, timeouts: Timeouts) {
    loop {
        let (ended, progress_at) = (body.ended.get(), body.progress_at.get());
        let wait = match ended {
            true => timeouts.response,
            false => timeouts.response.max(timeouts.idle) + BODY_MARGIN,
        };
        sleep_until(progress_at + wait).await;
        if body.progress_at.get() == progress_at && body.ended.get() == ended {
            return;
        }
    }
}

/// The times that an upstream allows one request.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    response: Duration,
    idle: Duration,
}

/// The host that the request is for; one of them, and a valid one.
fn host_of(request: &Request<Incoming>) -> Result<HeaderValue, ForwardError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ForwardError::BadHost("more than one Host header"));
    }
    // The target of an absolute-form request or of HTTP/2 wins (RFC 9112 section 3.2.2).
    let authority = request.uri().authority();
    if let (Some(authority), Some(host)) = (authority, host)
        && request.version() == Version::HTTP_2
        && !authority
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(ForwardError::BadHost(
            "the Host header is not the :authority",
        ));
    }
    let text = match (authority, host) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) if request.version() == Version::HTTP_10 => b"localhost",
        (None, None) => return Err(ForwardError::BadHost("the Host header is missing")),
    };
    let valid = http::uri::Authority::try_from(text)
        .is_ok_and(|authority| !authority.as_str().contains('@'));
    match HeaderValue::from_bytes(text) {
        Ok(host) if valid && request.uri().path().starts_with('/') => Ok(host),
        Ok(_) | Err(_) => Err(ForwardError::BadHost(
            "the Host header or the target is malformed",
        )),
    }
}

fn announced_bytes(request: &Request<Incoming>) -> u64 {
    request.body().size_hint().exact().unwrap_or(0)
}

impl From<BodyError> for ForwardError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong => Self::BodyTooLong,
            BodyError::Stalled => Self::RequestStalled,
            BodyError::Broken => Self::DownstreamClosed,
        }
    }
}

/// A client waits for all of them; more only prolong an outage.
const BACKENDS_TRIED_MAX: usize = 3;
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_MARGIN: Duration = Duration::from_millis(500);
