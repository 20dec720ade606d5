//! What answers on a listener. The one place that knows all services; a connection asks it what
//! differs between them.

use std::{rc::Rc, task::Poll};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Request;
use tokio::time::Instant;

use crate::{
    data::{
        answer::Asked,
        connection::Connection,
        context::WorkerContext,
        exchange::{Begun, Exchange, HttpWorker, answer_unreadable},
        fault::Fault,
        outcome::Outcome,
        redirect::{GrpcCall, GrpcRoutes, HttpStarted, JsonCall, RedirectWorker},
        stream::{Http2Stream, MessageStream, Turn, head_bytes, read_request},
        tcp::{self, TcpWorker},
    },
    listener::ServiceId,
    message::{Framing, request_framing},
    net::Transport,
    state::CloseCause,
    telemetry::access_log::AccessLog,
};

/// The services of one worker.
#[derive(Debug)]
pub(in crate::data) struct Services {
    worker: Rc<WorkerContext>,
    redirect: Rc<RedirectWorker>,
    http: Rc<HttpWorker>,
    tcp: Rc<TcpWorker>,
}

impl Services {
    /// The services' parts of a worker.
    pub(in crate::data) fn new(worker: &Rc<WorkerContext>, grpc_routes: GrpcRoutes) -> Self {
        let http = Rc::new(HttpWorker::new(worker));
        Self {
            worker: Rc::clone(worker),
            redirect: Rc::new(RedirectWorker::new(worker, grpc_routes)),
            tcp: Rc::new(TcpWorker::new(worker, http.pool())),
            http,
        }
    }

    /// The worker.
    pub(in crate::data) fn worker(&self) -> &Rc<WorkerContext> {
        &self.worker
    }

    /// Logs requests there from now on; nowhere if `None`.
    pub(in crate::data) fn log_to(&self, access_log: Option<&AccessLog>) {
        self.http.log_to(access_log.map(AccessLog::sink));
        self.tcp.log_to(access_log.map(AccessLog::sink));
    }

    /// The service of a listener.
    pub(in crate::data) fn of(&self, id: ServiceId) -> Service {
        match id {
            ServiceId::Redirect => Service::Redirect(Rc::clone(&self.redirect)),
            ServiceId::Http(listener) => Service::Http(Rc::clone(&self.http), listener),
            ServiceId::Tcp(listener) => Service::Tcp(Rc::clone(&self.tcp), listener),
            #[cfg(test)]
            ServiceId::Echo => Service::Echo,
        }
    }

    /// The connections to backends.
    #[cfg(test)]
    pub(in crate::data) fn pool(&self) -> &Rc<crate::data::upstream::ConnPool> {
        self.http.pool()
    }

    /// Does what has to be done each second.
    pub(in crate::data) fn keep_house(&self) {
        self.worker.scratch.borrow_mut().date.tick();
        self.http.keep_house();
        self.tcp.keep_house();
    }
}

/// What answers on a listener.
#[derive(Clone, Debug)]
pub(in crate::data) enum Service {
    Redirect(Rc<RedirectWorker>),
    /// The HTTP balancer, with the listener's id.
    Http(Rc<HttpWorker>, usize),
    /// The TCP balancer, with the listener's id.
    Tcp(Rc<TcpWorker>, usize),
    #[cfg(test)]
    Echo,
}

/// A request that is being answered.
#[derive(Debug)]
pub(in crate::data) enum Call {
    Http(Box<Exchange>),
    Grpc(Box<GrpcCall>),
    Json(Box<JsonCall>),
}

/// What became of a request at once.
#[derive(Debug)]
pub(in crate::data) enum Started {
    Call(Call),
    Answered(Outcome),
}

impl Service {
    /// Starts to answer a request over HTTP/1.1, whose head is in the scratch buffers.
    pub(in crate::data) fn start(
        &self,
        connection: &Rc<Connection>,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        body: Framing,
    ) -> Started {
        match self {
            Self::Redirect(redirect) => match redirect.start(connection, turn, client, body) {
                HttpStarted::Answered(outcome) => Started::Answered(outcome),
                HttpStarted::Json(call) => Started::Call(Call::Json(call)),
            },
            Self::Http(http, listener) => {
                match Exchange::begin(http, connection, *listener, turn, client, body) {
                    Begun::Exchange(exchange) => Started::Call(Call::Http(exchange)),
                    Begun::Answered(outcome) => Started::Answered(outcome),
                }
            }
            Self::Tcp(..) => Started::Answered(Outcome::Done),
            #[cfg(test)]
            Self::Echo => Started::Answered(Outcome::Done),
        }
    }

    /// Starts to answer a request over HTTP/2. `None` if it is answered.
    pub(in crate::data) fn start_http2(
        &self,
        connection: &Rc<Connection>,
        turn: &mut Turn<'_, '_>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<(Call, MessageStream)> {
        if let Self::Redirect(redirect) = self
            && redirect.is_grpc(&request)
        {
            let call = redirect.call(connection, turn, request, respond)?;
            return Some((Call::Grpc(call), MessageStream::none()));
        }
        let bytes_max = u64::from(connection.limits.max_header_size);
        let is_too_long = head_bytes(&request) > bytes_max;
        let (parts, receiver) = request.into_parts();
        read_request(&parts, &mut turn.scratch.request);
        let ends = receiver.is_end_stream();
        let body = match request_framing(&turn.scratch.request) {
            _ if is_too_long => Err(Fault::HeadLimit { bytes_max }),
            Ok(_) if ends => Ok(Framing::Empty),
            Ok(framing) => Ok(framing),
            Err(fault) => Err(Fault::from(fault)),
        };
        let announced = body.as_ref().copied().unwrap_or(Framing::UntilEnd);
        let client = Http2Stream::from_client(receiver, respond, announced);
        let mut client = MessageStream::Http2(client);
        let body = match body {
            Ok(body) => body,
            Err(fault) => {
                let asked = Asked::by(&turn.scratch.request);
                self.answer_unreadable(connection, turn, &mut client, asked, &fault, turn.now);
                return None;
            }
        };
        match self.start(connection, turn, &mut client, body) {
            Started::Call(call) => Some((call, client)),
            Started::Answered(_) => None,
        }
    }

    /// Answers a head that cannot be read, or did not come in time.
    pub(in crate::data) fn answer_unreadable(
        &self,
        connection: &Connection,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        asked: Asked,
        fault: &Fault,
        since: Instant,
    ) {
        match self {
            Self::Redirect(redirect) => redirect.answer_unreadable(turn, client, asked, fault),
            Self::Http(http, _) => {
                answer_unreadable(http, connection, turn, client, asked, fault, since);
            }
            Self::Tcp(..) => {}
            #[cfg(test)]
            Self::Echo => {}
        }
    }

    /// Whether its clients speak HTTP, so that the connection waits for their first bytes.
    pub(in crate::data) fn speaks_http(&self) -> bool {
        match self {
            Self::Redirect(_) | Self::Http(..) => true,
            Self::Tcp(..) => false,
            #[cfg(test)]
            Self::Echo => false,
        }
    }

    /// Serves a connection that speaks no HTTP.
    pub(in crate::data) async fn serve_bytes(&self, transport: Transport) -> CloseCause {
        match self {
            Self::Redirect(_) | Self::Http(..) => {
                drop(transport);
                CloseCause::Done
            }
            Self::Tcp(tcp, listener) => tcp::serve(tcp, *listener, transport).await,
            #[cfg(test)]
            Self::Echo => crate::data::echo::serve(transport).await,
        }
    }
}

impl Call {
    /// Goes on as far as it can.
    pub(in crate::data) fn poll(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
    ) -> Poll<Outcome> {
        match self {
            Self::Http(exchange) => exchange.poll(turn, client),
            Self::Grpc(call) => call.poll(turn).map(|()| Outcome::Done),
            Self::Json(call) => call.poll(turn, client),
        }
    }

    /// When it wants to be polled although nothing happened; `None` for never.
    pub(in crate::data) fn due(&self) -> Option<Instant> {
        match self {
            Self::Http(exchange) => Some(exchange.due()),
            Self::Grpc(call) => call.due(),
            Self::Json(call) => Some(call.due()),
        }
    }

    /// Whether it may last as long as its connection, so that no drain waits for it.
    pub(in crate::data) fn is_watch(&self) -> bool {
        match self {
            Self::Http(_) | Self::Json(_) => false,
            Self::Grpc(call) => call.is_watch(),
        }
    }
}
