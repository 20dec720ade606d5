//! The HTTP load balancer: what hyper calls for each request on its listeners.

use std::{convert::Infallible, fmt, net::IpAddr, pin::Pin, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{
    body::{Body as _, Incoming},
    service::Service,
};

use crate::data::{
    connection::{Call, Connection},
    error::ForwardError,
};

mod admission;
mod attempt;
mod backend_conn;
mod body_error;
mod conn_pool;
mod connecting;
mod forward;
mod forwarded_headers;
mod head_limit;
mod headers;
mod history;
mod keep_alive;
mod lease;
mod record;
mod relayed_body;
mod request_body;
mod response_body;
mod retry_budgets;
mod sending;
mod tunnel;
mod unpolled_bodies;
mod unreadable;
mod upgrade;

pub(super) use conn_pool::{ConnPool, close_old_connections};
pub(super) use response_body::ProxyBody;
pub(super) use retry_budgets::RetryBudgets;
pub(super) use tunnel::Tunnel;
pub(super) use unpolled_bodies::UnpolledBodies;
pub(super) use unreadable::note_unreadable_head;

use self::{
    forward::{Exchange, Forwarded},
    record::Record,
};

/// Answers the requests of one connection to a listener of the balancer.
#[derive(Clone)]
pub(super) struct HttpService {
    connection: Rc<Connection>,
    listener: usize,
    peer: Rc<Peer>,
}

/// The other end of a client's connection.
#[derive(Debug)]
struct Peer {
    ip: IpAddr,
    /// The same as text, which most requests are forwarded with.
    text: HeaderValue,
}

impl Peer {
    fn new(ip: IpAddr) -> Self {
        let text = HeaderValue::try_from(ip.to_string()).expect("addresses are valid");
        Self { ip, text }
    }
}

impl HttpService {
    pub(super) fn new(connection: Rc<Connection>, listener: usize, peer: IpAddr) -> Self {
        Self {
            connection,
            listener,
            peer: Rc::new(Peer::new(peer)),
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<ProxyBody>, Infallible> {
        let mut asked = Asked::new(&self, &request);
        let exchange = Exchange::new(&self.connection, self.listener, &self.peer);
        // Apart from the wait, so that the request is not part of what waits.
        let mut forwarding = match exchange.prepare(request, asked.record.as_deref_mut()) {
            Ok(forwarding) => forwarding,
            Err(error) => return Ok(asked.answer(Err(error))),
        };
        let answer = forwarding.run().await;
        Ok(asked.answer(answer))
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Service<Request<Incoming>> for HttpService {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ProxyBody>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// A request that is to be answered.
struct Asked {
    call: Call,
    asker: Asker,
    record: Option<Box<Record>>,
}

impl Asked {
    fn new(service: &HttpService, request: &Request<Incoming>) -> Self {
        let call = service.connection.call_started();
        if request.version() < Version::HTTP_11 {
            service.connection.ends_by_close();
        }
        let worker = service.connection.worker();
        let record = || Box::new(Record::new(&service.connection, request, service.peer.ip));
        Self {
            call,
            asker: Asker::new(request),
            record: worker.access_log.is_some().then(record),
        }
    }

    /// Counts the answer, and makes it one for the client.
    fn answer(mut self, answer: Result<Forwarded, ForwardError>) -> Response<ProxyBody> {
        let connection = Rc::clone(self.call.connection());
        let stats = &connection.worker().state().stats;
        let (mut response, tunnel, cause) = match answer {
            Ok(forwarded) => (forwarded.response, forwarded.tunnel, None),
            Err(error) => {
                stats.faults(error.cause()).increment();
                if self.asker.sends_body {
                    connection.leave_unread();
                }
                (self.asker.refusal(&error), None, Some(error.cause()))
            }
        };
        self.call.answered();
        stats.responses(response.status()).increment();
        if let Some(record) = &mut self.record {
            record.answered(response.status(), cause);
        }
        if let Some(tunnel) = tunnel {
            stats.upgrades.increment();
            tunnel.hold(self.call, self.record);
            connection.becomes(tunnel);
            return response;
        }
        response.body_mut().hold(self.call, self.record);
        if connection.is_last_answer() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What an answer of our own must suit.
#[derive(Clone, Copy, Debug)]
struct Asker {
    reads_bodies: bool,
    sends_body: bool,
    wants_json: bool,
    speaks_grpc: bool,
}

impl Asker {
    fn new(request: &Request<Incoming>) -> Self {
        let text = |name| header_text(request.headers(), &name);
        Self {
            reads_bodies: request.method() != Method::HEAD,
            sends_body: !request.body().is_end_stream(),
            wants_json: text(header::ACCEPT).contains("application/json"),
            speaks_grpc: text(header::CONTENT_TYPE).starts_with("application/grpc"),
        }
    }

    fn refusal(self, error: &ForwardError) -> Response<ProxyBody> {
        if self.speaks_grpc {
            return grpc_refusal(error);
        }
        let status = error.http_status();
        let (content_type, text) = if self.wants_json {
            let body = serde_json::json!({ "code": status.as_u16(), "message": error.to_string() });
            ("application/json", body.to_string())
        } else {
            ("text/plain; charset=utf-8", format!("{error}\n"))
        };
        let body = match self.reads_bodies {
            true => Bytes::from(text),
            false => Bytes::new(),
        };
        let mut response = Response::new(ProxyBody::whole(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // What is left of a body is read by nobody.
        if error.closes() || self.sends_body {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A gRPC client reads the status in the headers of a response without a body, and takes an HTTP
/// status for a guess.
fn grpc_refusal(error: &ForwardError) -> Response<ProxyBody> {
    let status = tonic::Status::new(error.grpc_code(), error.to_string());
    status
        .into_http::<()>()
        .map(|()| ProxyBody::whole(Bytes::new()))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    let value = headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
