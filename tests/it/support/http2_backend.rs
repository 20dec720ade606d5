//! An HTTP/2 backend (prior knowledge) that keeps what it gets and does what its script says.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response, request};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// One scripted server. Ends when it is dropped.
pub struct Http2Backend {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What a backend got.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub connections: usize,
    pub requests: Vec<SeenRequest>,
}

/// A request as it came; its body is complete only if `end` says so.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    pub connection: usize,
    pub head: Arc<request::Parts>,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    pub end: RequestEnd,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestEnd {
    /// It still comes, or nobody reads it.
    Open,
    Whole,
    Reset(Option<Reason>),
}

/// What a backend does with a request.
#[derive(Clone, Debug)]
pub enum Http2Script {
    /// Reads the request and answers 200.
    Reply(Reply),
    /// Reads the request and answers 200 with as many bytes as its target says, as in `/1000`.
    Sized,
    /// Answers 200 with this body, and reads nothing of the request's.
    ReplyEarly(Bytes),
    /// Refuses the stream: nothing was done.
    Refuse,
    /// Refuses the first `.0` streams of the process, then replies.
    RefuseFirst(usize, Reply),
    /// Answers `.0` requests of a connection; its GOAWAY does not cover any later one.
    GoAwayAfter(usize, Reply),
    /// Sends head and body, then resets the stream.
    ResetAfter(Reply, Reason),
    /// Closes the whole connection after head and body.
    CloseAfter(Reply),
    /// Sends head and body, and never the end.
    Stall(Reply),
    /// Says nothing, and notes when the stream is given up.
    Silence,
}

/// A response in full.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub trailers: Vec<(&'static str, &'static str)>,
}

impl Reply {
    pub fn body(body: &str) -> Self {
        Self {
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }
}

impl Http2Backend {
    pub async fn start(script: Http2Script) -> Self {
        let mut settings = server::Builder::new();
        settings.max_concurrent_streams(100);
        Self::with_settings(script, settings).await
    }

    /// Starts with settings of its own: few streams, a small window, a large table.
    pub async fn with_settings(script: Http2Script, settings: server::Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = {
                    let mut seen = log.lock().unwrap();
                    seen.connections += 1;
                    seen.connections - 1
                };
                let (settings, script) = (settings.clone(), script.clone());
                serving.spawn(serve(
                    stream,
                    settings,
                    script,
                    connection,
                    Arc::clone(&log),
                ));
            }
        });
        Self { addr, seen, task }
    }

    /// As the configuration writes it.
    pub fn url(&self) -> String {
        format!("h2c://{}", self.addr)
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn requests(&self) -> Vec<SeenRequest> {
        self.seen().requests
    }
}

impl Drop for Http2Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    settings: server::Builder,
    script: Http2Script,
    connection: usize,
    seen: Arc<Mutex<Seen>>,
) {
    let Ok(mut http2) = settings.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut calls = JoinSet::new();
    let mut taken = 0;
    loop {
        let accepted = tokio::select! {
            accepted = http2.accept() => accepted,
            // A script that closes the connection, and nothing else, ends so.
            Some(Ok(Then::Close)) = calls.join_next() => return,
        };
        let Some(Ok((request, respond))) = accepted else {
            break;
        };
        taken += 1;
        if let Http2Script::GoAwayAfter(limit, _) = script
            && taken == limit
        {
            http2.graceful_shutdown();
        }
        calls.spawn(answer(
            request,
            respond,
            script.clone(),
            connection,
            Arc::clone(&seen),
        ));
    }
    // So that the calls notice, and note it.
    drop(http2);
    while calls.join_next().await.is_some() {}
}

/// What becomes of the connection after a call.
enum Then {
    GoOn,
    Close,
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Http2Script,
    connection: usize,
    seen: Arc<Mutex<Seen>>,
) -> Then {
    let (head, body) = request.into_parts();
    let target = head.uri.path().to_owned();
    let index = note_head(head, connection, &seen);
    let reply = match script {
        Http2Script::Sized => Reply {
            body: vec![b'x'; target[1..].parse().unwrap()].into(),
            ..Reply::default()
        },
        Http2Script::Reply(reply) | Http2Script::GoAwayAfter(_, reply) => reply,
        Http2Script::RefuseFirst(count, reply) if index >= count => reply,
        Http2Script::Refuse | Http2Script::RefuseFirst(..) => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Then::GoOn;
        }
        Http2Script::ReplyEarly(bytes) => {
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            let _gone = sending.send_data(bytes, true);
            // Held, so that the rest of the request is not refused either.
            let _body = body;
            let _ended = poll_fn(|cx| sending.poll_reset(cx)).await;
            return Then::GoOn;
        }
        Http2Script::ResetAfter(reply, reason) => {
            read_body(body, &seen, index).await;
            if let Some(mut sending) = begin(&mut respond, &reply).await {
                sending.send_reset(reason);
            }
            return Then::GoOn;
        }
        Http2Script::CloseAfter(reply) => {
            read_body(body, &seen, index).await;
            let _sending = begin(&mut respond, &reply).await;
            return Then::Close;
        }
        Http2Script::Stall(reply) => {
            read_body(body, &seen, index).await;
            if let Some(mut sending) = begin(&mut respond, &reply).await {
                let reset = poll_fn(|cx| sending.poll_reset(cx)).await;
                note_reset(reset, &seen, index);
            }
            return Then::GoOn;
        }
        Http2Script::Silence => {
            read_body(body, &seen, index).await;
            let reset = poll_fn(|cx| respond.poll_reset(cx)).await;
            note_reset(reset, &seen, index);
            return Then::GoOn;
        }
    };
    read_body(body, &seen, index).await;
    if let Some(sending) = begin(&mut respond, &reply).await {
        end(sending, reply.trailers);
    }
    Then::GoOn
}

fn end(mut sending: SendStream<Bytes>, pairs: Vec<(&'static str, &'static str)>) {
    let mut trailers = HeaderMap::new();
    for (name, value) in pairs {
        trailers.append(name, value.parse().unwrap());
    }
    let _gone = match trailers.is_empty() {
        true => sending.send_data(Bytes::new(), true),
        false => sending.send_trailers(trailers),
    };
}

fn note_head(head: request::Parts, connection: usize, seen: &Mutex<Seen>) -> usize {
    let mut seen = seen.lock().unwrap();
    seen.requests.push(SeenRequest {
        connection,
        head: Arc::new(head),
        body: Vec::new(),
        trailers: HeaderMap::new(),
        end: RequestEnd::Open,
    });
    seen.requests.len() - 1
}

fn note_reset(reason: Result<Reason, h2::Error>, seen: &Mutex<Seen>, index: usize) {
    seen.lock().unwrap().requests[index].end = RequestEnd::Reset(reason.ok());
}

async fn read_body(mut body: RecvStream, seen: &Mutex<Seen>, index: usize) {
    let end = loop {
        match body.data().await {
            None => break RequestEnd::Whole,
            Some(Err(error)) => break RequestEnd::Reset(error.reason()),
            Some(Ok(data)) => {
                let _closed = body.flow_control().release_capacity(data.len());
                seen.lock().unwrap().requests[index]
                    .body
                    .extend_from_slice(&data);
            }
        }
    };
    let trailers = body.trailers().await.ok().flatten();
    let request = &mut seen.lock().unwrap().requests[index];
    request.trailers = trailers.unwrap_or_default();
    request.end = end;
}

/// Sends head and body, as the windows allow, without an end.
async fn begin(respond: &mut SendResponse<Bytes>, reply: &Reply) -> Option<SendStream<Bytes>> {
    let mut response = Response::builder();
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let response = response.body(()).unwrap();
    let mut sending = respond.send_response(response, false).ok()?;
    let mut left = reply.body.clone();
    while !left.is_empty() {
        sending.reserve_capacity(left.len());
        let room = poll_fn(|cx| sending.poll_capacity(cx)).await?.ok()?;
        let part = left.split_to(room.min(left.len()));
        sending.send_data(part, false).ok()?;
    }
    Some(sending)
}
