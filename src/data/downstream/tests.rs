//! Connections over in-memory streams and in paused time.

use std::{
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::{self, JoinHandle, LocalSet},
    time::Instant,
};

use crate::{
    data::{
        downstream,
        service::{Service, Services},
        testing,
    },
    listener::ServiceId,
    net::Transport,
    state::CloseCause,
};

/// A client of a connection, and how the connection ends.
struct Client {
    stream: DuplexStream,
    ended: JoinHandle<CloseCause>,
}

fn connect(services: &Services, service: ServiceId) -> Client {
    let (stream, server) = duplex(64 * 1024);
    let worker = Rc::clone(services.worker());
    let service: Service = services.of(service);
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ended = task::spawn_local(async move {
        downstream::serve(&worker, service, peer, Transport::Memory(server)).await
    });
    Client { stream, ended }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads until what came ends like this.
    async fn read_to(&mut self, end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            let byte = self.stream.read_u8().await.unwrap();
            read.push(char::from(byte));
        }
        read
    }
}

/// Reads until what came ends like this.
async fn read_to(stream: &mut DuplexStream, end: &str) -> String {
    let mut read = String::new();
    while !read.ends_with(end) {
        read.push(char::from(stream.read_u8().await.unwrap()));
    }
    read
}

/// The head of a request as the backend sees it, without what is drawn by chance.
async fn head_at(backend: &mut DuplexStream) -> String {
    let head = read_to(backend, "\r\n\r\n").await;
    let lines = head
        .split("\r\n")
        .filter(|line| !line.starts_with("x-request-id: "));
    lines.collect::<Vec<_>>().join("\r\n")
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";

/// However a response is cut on its way, the client gets the same.
#[tokio::test(start_paused = true)]
async fn a_response_passes_wherever_it_is_split() {
    let response = "HTTP/1.1 103 Hint\r\nlink: x\r\n\r\nHTTP/1.1 200 Fine\r\ndate: now\r\n\
                    transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    LocalSet::new()
        .run_until(async {
            for cut in 1..response.len() {
                let (services, mut backend) = testing::balancer("");
                let mut client = connect(&services, ServiceId::Http(0));
                client.send(GET).await;
                let head = head_at(&mut backend).await;
                assert_eq!(
                    head,
                    "GET /a HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 127.0.0.1\r\n\
                     x-real-ip: 127.0.0.1\r\nx-forwarded-proto: http\r\n\
                     x-forwarded-host: h\r\ncdn-loop: weir\r\n\r\n"
                );
                let (first, second) = response.split_at(cut);
                backend.write_all(first.as_bytes()).await.unwrap();
                task::yield_now().await;
                backend.write_all(second.as_bytes()).await.unwrap();
                let hint = client.read_to("\r\n\r\n").await;
                assert_eq!(hint, "HTTP/1.1 103 Hint\r\nlink: x\r\n\r\n");
                let head = client.read_to("\r\n\r\n").await;
                assert_eq!(
                    head,
                    "HTTP/1.1 200 Fine\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                let body = client.read_to("0\r\n\r\n").await;
                let payload = body.split("\r\n").skip(1).step_by(2).collect::<String>();
                assert_eq!(payload, "abcde", "cut at {cut}: {body:?}");
            }
        })
        .await;
}

/// Each wait of an exchange ends in time, with the fault of the side that is waited for.
#[tokio::test(start_paused = true)]
async fn each_wait_of_an_exchange_has_its_limit() {
    let limits = "    response_timeout: 11s\n    idle_timeout: 13s\n";
    let silent = "";
    let begun = "HTTP/1.1 200 Fine\r\ncontent-length: 9\r\n\r\nhalf";
    LocalSet::new()
        .run_until(async {
            for (request, response, status, seconds) in [
                (GET, silent, "HTTP/1.1 504 ", 11),
                (POST, silent, "HTTP/1.1 408 ", 13),
                (GET, begun, "HTTP/1.1 200 ", 13),
            ] {
                let (services, mut backend) = testing::balancer(limits);
                let mut client = connect(&services, ServiceId::Http(0));
                let began = Instant::now();
                client.send(request).await;
                head_at(&mut backend).await;
                backend.write_all(response.as_bytes()).await.unwrap();
                let answer = client.read_to("\r\n\r\n").await;
                assert!(answer.starts_with(status), "{answer}");
                // Until it is given up, nothing but the half of the body comes.
                let mut rest = Vec::new();
                if response == begun {
                    client.stream.read_to_end(&mut rest).await.unwrap();
                    assert_eq!(rest, b"half");
                }
                let took = began.elapsed();
                let limit = Duration::from_secs(seconds);
                let slack = Duration::from_millis(100);
                assert!((limit..limit + slack).contains(&took), "{status}: {took:?}");
            }
        })
        .await;
}

/// A byte a second is progress, and yet a stall.
#[tokio::test(start_paused = true)]
async fn a_dripping_upload_is_stalled() {
    LocalSet::new()
        .run_until(async {
            let (services, mut backend) = testing::balancer("");
            let mut client = connect(&services, ServiceId::Http(0));
            let began = Instant::now();
            client.send(POST).await;
            head_at(&mut backend).await;
            let answer = loop {
                client.send(b"x").await;
                let wait = Duration::from_secs(1);
                let mut byte = [0];
                if let Ok(read) = tokio::time::timeout(wait, client.stream.read(&mut byte)).await {
                    assert_eq!(read.unwrap(), 1);
                    break client.read_to("\r\n\r\n").await;
                }
            };
            assert!(answer.starts_with("TTP/1.1 408 "), "{answer}");
            assert!(
                (29..33).contains(&began.elapsed().as_secs()),
                "{:?}",
                began.elapsed()
            );
        })
        .await;
}

/// RFC 9110 section 10.1.1: the backend is asked first, but not for ever.
#[tokio::test(start_paused = true)]
async fn an_expectation_is_met_by_the_backend_or_after_a_second() {
    let ask = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    LocalSet::new()
        .run_until(async {
            for (asks_for_it, least, most) in [(true, 0, 10), (false, 1000, 1010)] {
                let (services, mut backend) = testing::balancer("");
                let mut client = connect(&services, ServiceId::Http(0));
                let began = Instant::now();
                client.send(ask).await;
                assert!(
                    head_at(&mut backend)
                        .await
                        .contains("expect: 100-continue\r\n")
                );
                if asks_for_it {
                    backend
                        .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                        .await
                        .unwrap();
                }
                let interim = client.read_to("\r\n\r\n").await;
                assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
                let took = began.elapsed().as_millis();
                assert!((least..most).contains(&took), "{took} ms");
                client.send(b"ok").await;
                read_to(&mut backend, "ok").await;
                backend
                    .write_all(b"HTTP/1.1 204 Fine\r\ndate: x\r\n\r\n")
                    .await
                    .unwrap();
                let answer = client.read_to("\r\n\r\n").await;
                assert_eq!(answer, "HTTP/1.1 204 Fine\r\ndate: x\r\n\r\n");
            }
        })
        .await;
}

/// What one more service costs: a file, an arm of each enum, and no line of the connection layer.
/// Its client does not have to speak first.
#[tokio::test(start_paused = true)]
async fn a_service_that_speaks_no_http_is_served() {
    LocalSet::new()
        .run_until(async {
            let services = testing::services("redirect: { cdn_host: cdn }");
            let mut client = connect(&services, ServiceId::Echo);
            assert_eq!(client.read_to("\n").await, "hello\n");
            client.send(b"what comes back").await;
            assert_eq!(client.read_to("back").await, "what comes back");
            drop(client.stream);
            assert_eq!(client.ended.await.unwrap(), CloseCause::Done);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_one_after_the_other() {
    LocalSet::new()
        .run_until(async {
            let services = testing::services("redirect: { cdn_host: cdn }");
            let mut client = connect(&services, ServiceId::Redirect);
            let request =
                "GET /redirect?video=http://s1.origin-cluster/x HTTP/1.1\r\nHost: h\r\n\r\n";
            // Two at once, the second in two parts, blank lines between.
            let (whole, half) = (request.to_owned() + "\r\n\r\n", request.split_at(30));
            client.send((whole + half.0).as_bytes()).await;
            let answer = client.read_to("\r\n\r\n").await;
            assert!(answer.contains("location: http://cdn/s1/x\r\n"), "{answer}");
            client.send(half.1.as_bytes()).await;
            let answer = client.read_to("\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
            drop(client.stream);
            assert_eq!(client.ended.await.unwrap(), CloseCause::Done);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn each_state_of_a_connection_has_its_limit() {
    LocalSet::new()
        .run_until(async {
            let services = testing::services(
                "redirect: { cdn_host: cdn }\nconnections: { first_byte_timeout: 3s, \
                 header_timeout: 5s, idle_timeout: 7s }\n",
            );
            let whole = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
            for (sent, status, cause, seconds) in [
                ("", None, CloseCause::FirstByteTimeout, 3),
                ("GET /", Some("408"), CloseCause::HeaderTimeout, 5),
                (whole, Some("404"), CloseCause::IdleTimeout, 7),
            ] {
                let began = Instant::now();
                let mut client = connect(&services, ServiceId::Redirect);
                client.send(sent.as_bytes()).await;
                let mut received = Vec::new();
                client.stream.read_to_end(&mut received).await.unwrap();
                let received = String::from_utf8(received).unwrap();
                let expected = status.map_or(String::new(), |status| format!("HTTP/1.1 {status} "));
                assert!(received.starts_with(&expected), "{received}");
                drop(client.stream);
                assert_eq!(client.ended.await.unwrap(), cause);
                let took = began.elapsed();
                let limit = Duration::from_secs(seconds);
                assert!(
                    (limit..limit + Duration::from_secs(1)).contains(&took),
                    "{took:?}"
                );
            }
        })
        .await;
}

/// Heads that come in as many bytes as they have are no bomb, however fast they come.
#[tokio::test(start_paused = true)]
async fn a_fast_client_keeps_its_http2_connection() {
    LocalSet::new()
        .run_until(async {
            let services = testing::services("redirect: { cdn_host: cdn }");
            let client = connect(&services, ServiceId::Redirect);
            let (mut requests, connection) = h2::client::handshake(client.stream).await.unwrap();
            task::spawn_local(connection);
            let cookie = "x".repeat(40_000);
            // 20 MiB in no time.
            for _ in 0..500 {
                let request = http::Request::get("http://h/x").header("cookie", &cookie);
                let (response, _) = requests
                    .send_request(request.body(()).unwrap(), true)
                    .unwrap();
                assert_eq!(response.await.unwrap().status(), 404);
            }
        })
        .await;
}
