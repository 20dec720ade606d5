//! One request and one answer, whatever protocol either side of the balancer speaks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::net::TcpStream;

use crate::support::{
    End, Http2Backend, Http2Script, RecordingBackend, Reply, Talk, TestApp, talk,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http1,
    /// By prior knowledge.
    Http2,
}

/// What the client speaks, and what the backend.
#[derive(Clone, Copy, Debug)]
pub struct Pairing {
    pub client: Protocol,
    pub backend: Protocol,
}

impl Pairing {
    /// All that the balancer supports.
    pub const ALL: [Self; 4] = [
        Self::of(Protocol::Http1, Protocol::Http1),
        Self::of(Protocol::Http2, Protocol::Http1),
        Self::of(Protocol::Http1, Protocol::Http2),
        Self::of(Protocol::Http2, Protocol::Http2),
    ];

    pub const fn of(client: Protocol, backend: Protocol) -> Self {
        Self { client, backend }
    }
}

/// How a backend's response goes on after its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    Whole,
    /// The connection is closed.
    Closed,
    /// HTTP/2 resets the stream, HTTP/1.1 the connection.
    Reset,
    /// Nothing more comes.
    Stalled,
}

/// A backend that answers every request alike.
pub enum PairedBackend {
    Http1(RecordingBackend),
    Http2(Http2Backend),
}

/// A request as a backend saw it.
#[derive(Clone, Debug)]
pub struct SeenAsk {
    pub method: String,
    pub target: String,
    pub authority: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl PairedBackend {
    pub async fn start(protocol: Protocol, reply: Reply, ending: Ending) -> Self {
        if protocol == Protocol::Http2 {
            let script = match ending {
                Ending::Whole => Http2Script::Reply(reply),
                Ending::Closed => Http2Script::CloseAfter(reply),
                Ending::Reset => Http2Script::ResetAfter(reply, Reason::INTERNAL_ERROR),
                Ending::Stalled => Http2Script::Stall(reply),
            };
            return Self::Http2(Http2Backend::start(script).await);
        }
        let response = Arc::new(http1_response(&reply, ending));
        let backend = RecordingBackend::scripted(move |mut wire| {
            let response = Arc::clone(&response);
            async move {
                while wire.request().await.is_some() {
                    wire.send(response.as_slice()).await;
                    match ending {
                        Ending::Whole => {}
                        Ending::Closed => return,
                        Ending::Reset => return wire.reset(),
                        Ending::Stalled => wire.until_closed().await,
                    }
                }
            }
        });
        Self::Http1(backend.await)
    }

    /// As the configuration writes it.
    pub fn url(&self) -> String {
        match self {
            Self::Http1(backend) => backend.url(),
            Self::Http2(backend) => backend.url(),
        }
    }

    #[track_caller]
    pub fn seen(&self) -> Vec<SeenAsk> {
        match self {
            Self::Http1(backend) => {
                let requests = backend.requests().into_iter();
                let seen = requests.map(|request| SeenAsk {
                    authority: request.value("host").to_owned(),
                    method: request.method,
                    target: request.target,
                    headers: map(&request.headers),
                    body: request.body,
                    trailers: map(&request.trailers),
                });
                seen.collect()
            }
            Self::Http2(backend) => {
                let requests = backend.requests().into_iter();
                let seen = requests.map(|request| SeenAsk {
                    method: request.head.method.to_string(),
                    target: request.head.uri.path_and_query().unwrap().to_string(),
                    authority: request.head.uri.authority().unwrap().to_string(),
                    headers: request.head.headers.clone(),
                    body: request.body,
                    trailers: request.trailers,
                });
                seen.collect()
            }
        }
    }
}

/// Of known length, but where trailers follow or the end is to be missed.
fn http1_response(reply: &Reply, ending: Ending) -> Vec<u8> {
    let mut response = "HTTP/1.1 200 OK\r\n".to_owned();
    for (name, value) in &reply.headers {
        response += &format!("{name}: {value}\r\n");
    }
    let body = String::from_utf8(reply.body.to_vec()).unwrap();
    let length = body.len();
    if ending == Ending::Whole && reply.trailers.is_empty() {
        return format!("{response}Content-Length: {length}\r\n\r\n{body}").into_bytes();
    }
    response += &format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n");
    if ending == Ending::Whole {
        response += "0\r\n";
        for (name, value) in &reply.trailers {
            response += &format!("{name}: {value}\r\n");
        }
        response += "\r\n";
    }
    response.into_bytes()
}

fn map(pairs: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// A request as a client makes it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub target: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<&'static str>,
}

impl Ask {
    pub fn get(target: &'static str) -> Self {
        Self {
            method: "GET",
            target,
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn post(target: &'static str, body: &'static str) -> Self {
        Self {
            method: "POST",
            body: Some(body),
            ..Self::get(target)
        }
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// Everything that came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    /// Whether it ended as a whole response does.
    pub is_whole: bool,
}

impl Answer {
    /// No answer at all, which is no whole one either.
    fn broken() -> Self {
        Self {
            status: 0,
            headers: HeaderMap::new(),
            body: Vec::new(),
            trailers: HeaderMap::new(),
            is_whole: false,
        }
    }
}

/// Asks `web.example` on a connection of its own.
pub async fn ask(client: Protocol, addr: SocketAddr, ask: &Ask) -> Answer {
    match client {
        Protocol::Http1 => ask_http1(addr, ask).await,
        Protocol::Http2 => ask_http2(addr, ask).await,
    }
}

async fn ask_http1(addr: SocketAddr, ask: &Ask) -> Answer {
    let mut request = format!(
        "{} {} HTTP/1.1\r\nHost: web.example\r\n",
        ask.method, ask.target
    );
    for (name, value) in &ask.headers {
        request += &format!("{name}: {value}\r\n");
    }
    // Unless the request says itself what its connection should do.
    if !ask.headers.iter().any(|(name, _)| *name == "connection") {
        request += "Connection: close\r\n";
    }
    if let Some(body) = ask.body {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += ask.body.unwrap_or_default();
    answer_of(&talk(addr, request, PATIENCE).await)
}

#[track_caller]
fn answer_of(talk: &Talk) -> Answer {
    let text = talk.text();
    if text.is_empty() && talk.end != End::Open {
        return Answer::broken();
    }
    let (head, rest) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer but {talk:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let pairs = |lines: std::str::Split<'_, &str>| -> Vec<(String, String)> {
        let pairs = lines.filter_map(|line| line.split_once(": "));
        pairs
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect()
    };
    let headers = map(&pairs(lines));
    if !headers.contains_key("transfer-encoding") {
        let length = headers.get("content-length");
        let length = length.and_then(|length| length.to_str().unwrap().parse::<usize>().ok());
        return Answer {
            status,
            headers,
            body: rest.as_bytes().to_vec(),
            trailers: HeaderMap::new(),
            is_whole: length == Some(rest.len()) || length.is_none() && talk.end == End::Closed,
        };
    }
    let mut body = String::new();
    let mut rest = rest;
    let (mut trailers, mut is_whole) = (HeaderMap::new(), false);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            is_whole = after.ends_with("\r\n");
            trailers = map(&pairs(after.split("\r\n")));
            break;
        }
        body += &after[..size.min(after.len())];
        rest = after.get(size + 2..).unwrap_or_default();
    }
    Answer {
        status,
        headers,
        body: body.into_bytes(),
        trailers,
        is_whole,
    }
}

async fn ask_http2(addr: SocketAddr, ask: &Ask) -> Answer {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(ask.method)
        .uri(format!("http://web.example{}", ask.target));
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    let mut requests = requests.ready().await.unwrap();
    let request = request.body(()).unwrap();
    let (response, mut sending) = requests.send_request(request, ask.body.is_none()).unwrap();
    if let Some(body) = ask.body {
        sending
            .send_data(Bytes::from_static(body.as_bytes()), true)
            .unwrap();
    }
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap();
    // Where a response breaks off at once, its head may be given up, too.
    let Ok(response) = response else {
        return Answer::broken();
    };
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let mut is_whole = true;
    while let Some(data) = incoming.data().await {
        let Ok(data) = data else {
            is_whole = false;
            break;
        };
        incoming
            .flow_control()
            .release_capacity(data.len())
            .unwrap();
        body.extend_from_slice(&data);
    }
    let trailers = match is_whole {
        true => incoming.trailers().await.unwrap().unwrap_or_default(),
        false => HeaderMap::new(),
    };
    connection.abort();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        trailers,
        is_whole,
    }
}

/// Starts the balancer before backends, with more keys of the upstream (`    key: value` lines),
/// of its listener (the same) and of the file.
pub fn start_balancer(urls: &[String], upstream: &str, listener: &str, file: &str) -> TestApp {
    TestApp::start(
        "",
        &format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n{listener}\
             upstreams:\n  app:\n    backends: [\"{}\"]\n{upstream}{file}",
            urls.join("\", \"")
        ),
    )
}

const PATIENCE: Duration = Duration::from_secs(20);
