//! The HTTP load balancer: what hyper calls for each request on its listeners.

use std::{convert::Infallible, fmt, net::IpAddr, pin::Pin, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::Service};

use crate::data::{connection::Connection, error::ForwardError};

mod body;
mod conn_pool;
mod forward;
mod headers;

pub(super) use body::ProxyBody;
pub(super) use conn_pool::{ConnPool, close_old_connections};

use self::forward::Exchange;

/// Answers the requests of one connection to a listener of the balancer.
#[derive(Clone)]
pub(super) struct HttpService {
    connection: Rc<Connection>,
    listener: usize,
    peer: IpAddr,
}

impl HttpService {
    pub(super) fn new(connection: Rc<Connection>, listener: usize, peer: IpAddr) -> Self {
        Self {
            connection,
            listener,
            peer,
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<ProxyBody> {
        let mut call = self.connection.call_started();
        let (method, wants_json) = (request.method().clone(), wants_json(&request));
        let exchange = Exchange::new(&self.connection, self.listener, self.peer);
        let answer = exchange.forward(request).await;
        let stats = &self.connection.worker().state().stats;
        let mut response = answer.unwrap_or_else(|error| {
            stats.forward_faults(error.fault()).increment();
            refused(&error, &method, wants_json)
        });
        call.answered();
        stats.responses(response.status()).increment();
        response.body_mut().hold(call);
        if self.connection.is_last_answer() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
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
        let service = self.clone();
        Box::pin(async { Ok(service.answer(request).await) })
    }
}

fn wants_json(request: &Request<Incoming>) -> bool {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

fn refused(error: &ForwardError, method: &Method, wants_json: bool) -> Response<ProxyBody> {
    let status = error.http_status();
    let (content_type, text) = if wants_json {
        let body = serde_json::json!({ "code": status.as_u16(), "message": error.to_string() });
        ("application/json", body.to_string())
    } else {
        ("text/plain; charset=utf-8", format!("{error}\n"))
    };
    let body = if *method == Method::HEAD {
        Bytes::new()
    } else {
        Bytes::from(text)
    };
    let mut response = Response::new(ProxyBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if error.closes() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
