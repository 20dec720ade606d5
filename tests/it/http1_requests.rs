//! Where a request ends on a connection that goes on.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    End, RecordingBackend, Table, TestApp, eventually, ok, read_to_end, start_balancer, talk,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Reads one response off a connection that stays open.
async fn response(stream: &mut TcpStream, body: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
        let byte = timeout(PATIENCE, stream.read_u8())
            .await
            .expect("no answer");
        answer.push(byte.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&answer))));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_with_any_method_leaves_the_next_request_intact() {
    let mut table = Table::start("").await;
    let methods = [
        "GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "POST", "PATCH", "REPORT",
    ];
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = TcpStream::connect(table.app.http.unwrap()).await.unwrap();
    let mut expected = Vec::new();
    for method in methods {
        let length = smuggled.len();
        for (headers, body) in [
            (format!("Content-Length: {length}"), smuggled.to_owned()),
            (
                "Transfer-Encoding: chunked".to_owned(),
                format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n"),
            ),
        ] {
            let request = format!("{method} /a HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = response(&mut stream, if method == "HEAD" { "" } else { "fine" }).await;
            table.note(&request, head.starts_with("HTTP/1.1 200"), head);
            stream
                .write_all(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            response(&mut stream, "fine").await;
            expected.push((
                method.to_owned(),
                "/a".to_owned(),
                smuggled.as_bytes().to_vec(),
            ));
            expected.push(("GET".to_owned(), "/b".to_owned(), Vec::new()));
        }
    }
    let seen = table.backend.requests().into_iter();
    let seen: Vec<_> = seen
        .map(|seen| (seen.method, seen.target, seen.body))
        .collect();
    assert_eq!(seen, expected);
    table.finish(2 * methods.len());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let table = Table::start("").await;
    let request = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n\
                   POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
                   POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n\
                   GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: x\r\n\r\n";
    let talk = table.talk(request).await;
    assert_eq!((talk.statuses(), talk.end), (vec![200; 4], End::Closed));
    let requests = table.backend.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|seen| (seen.target.as_str(), seen.body.as_slice()))
        .collect();
    assert_eq!(
        seen,
        [("/1", &b""[..]), ("/2", b"abc"), ("/3", b"d"), ("/4", b"")]
    );
    table.finish(0);
}

/// A request that is answered before its body was read (CVE-2025-4366): the next one is never cut
/// from that body.
#[tokio::test]
async fn an_unread_body_is_never_taken_for_a_request() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send(ok("early")).await;
        }
    });
    let backend = backend.await;
    let app = TestApp::start(
        "",
        &format!(
            "http:\n  - listen: 127.0.0.1:0\n    body_limit: 100KiB\n    routes: [{{ path: /known, upstream: app }}, \
             {{ path: /dead, upstream: dead }}]\nupstreams:\n  app: {{ backends: [\"{}\"] }}\n  \
             dead: {{ backends: [\"http://127.0.0.1:9\"] }}\n",
            backend.url()
        ),
    );
    let smuggled = "GET /known/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut cases = 0;
    for (target, expected) in [("/unknown", 404), ("/dead", 502), ("/known/early", 200)] {
        for copies in [1, 1000, 4000] {
            let body = smuggled.repeat(copies);
            // Without its last byte, and followed by the rest only once the answer came.
            let (now, later) = body.split_at(body.len() - 1);
            let length = body.len();
            let expected = if length > 100 << 10 && expected != 404 {
                413
            } else {
                expected
            };
            let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
            let head =
                format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let _may_be_closed = stream.write_all(now.as_bytes()).await;
            let mut first = [0; 12];
            timeout(PATIENCE, stream.read_exact(&mut first))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                first[..],
                *format!("HTTP/1.1 {expected}").as_bytes(),
                "{target} {copies}"
            );
            let _may_be_closed = stream.write_all(later.as_bytes()).await;
            let next = b"GET /known/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let _may_be_closed = stream.write_all(next).await;
            let rest = read_to_end(&mut stream, Duration::from_secs(3)).await;
            assert!(
                rest.end != End::Open && rest.statuses().len() < 2,
                "{rest:?}"
            );
            cases += 1;
        }
    }
    assert_eq!(cases, 9);
    for bytes in backend.received() {
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let first = head.split(' ').nth(1).unwrap();
        assert!(
            ["/known/early", "/known/next"].contains(&first),
            "{head:.300}"
        );
    }
}

#[tokio::test]
async fn an_expectation_is_met_only_where_the_body_is_read() {
    let mut table = Table::start("    body_limit: 5B\n").await;
    let head = |target: &str, headers: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: web.example\r\nExpect: 100-continue\r\n{headers}\r\n"
        )
    };
    let mut stream = TcpStream::connect(table.app.http.unwrap()).await.unwrap();
    stream
        .write_all(head("/a", "Content-Length: 5\r\n").as_bytes())
        .await
        .unwrap();
    let interim = response(&mut stream, "").await;
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    assert!(
        response(&mut stream, "fine")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let request = table.backend.requests().remove(0);
    assert_eq!(request.body, b"hello");
    assert_eq!(request.values("expect"), ["100-continue"]);
    // A final answer without an interim one, and no wait for a body that will not come.
    table
        .refuses(head("/", "Content-Length: 6\r\n"), &[413])
        .await;
    table
        .refuses(head("/", "Content-Length: 5\r\nHost: b\r\n"), &[400])
        .await;
    table
        .refuses(head("/", "Transfer-Encoding: gzip\r\n"), &[400])
        .await;
    table
        .refuses(head("*", "Content-Length: 5\r\n"), &[400])
        .await;
    // An unknown expectation is refused or does nothing.
    let request = "POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 1\r\nConnection: close\r\n\r\na";
    let statuses = table.talk(request).await.statuses();
    table.note(request, matches!(statuses[..], [200 | 417]), statuses);
    // Without a body there is nothing to wait for.
    let request = "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let statuses = table.talk(request).await.statuses();
    table.note(request, statuses == [200], statuses);
    table.finish(6);
}

/// A 404 to an expectation: no interim answer, and what the client sends all the same is no
/// request.
#[tokio::test]
async fn an_expectation_without_a_route_closes() {
    let backend = RecordingBackend::replying("x").await;
    let sections = "http:\n  - listen: 127.0.0.1:0\n    routes: [{ path: /known, upstream: app }]\nupstreams:\n  app: { backends: [\"URL\"] }\n";
    let app = TestApp::start("", &sections.replace("URL", &backend.url()));
    let smuggled = "GET /known HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = format!(
        "POST /unknown HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    );
    let patience = Duration::from_secs(3);
    // With the body read and thrown away the connection may go on.
    let with_body = talk(app.http.unwrap(), format!("{head}{smuggled}"), patience).await;
    assert_eq!(with_body.statuses(), [404]);
    let without = talk(app.http.unwrap(), head, patience).await;
    assert_eq!((without.statuses(), without.end), (vec![404], End::Closed));
    assert_eq!(backend.connections(), 0);
}

/// CVE-2024-24791: the backend answers for good, and the body that it never asked for must not
/// become the next request on its connection.
#[tokio::test]
async fn a_backend_that_answers_an_expectation_for_good_is_not_reused() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "workers: 1\n");
    let head =
        "POST /first HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n";
    let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("an answer", async || backend.connections() == 1).await;
    let mut answer = vec![0; 1000];
    let read = timeout(PATIENCE, stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 "), "{answer:?}");
    let next = "GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let second = talk(app.http.unwrap(), next, Duration::from_secs(3)).await;
    assert_eq!(second.statuses(), [401]);
    let received = backend.received();
    assert_eq!(received.len(), 2, "a connection of its own");
    assert!(received[1].starts_with(b"GET /second HTTP/1.1\r\n"));
}

/// RFC 9110 section 6.5.1: no trailer becomes a header, and none that frames or authorises.
#[tokio::test]
async fn forbidden_trailers_reach_nobody() {
    let mut table = Table::start("").await;
    let trailers = [
        "Content-Length: 99",
        "Transfer-Encoding: chunked",
        "Host: evil",
        "Authorization: evil",
        "X-Forwarded-For: 6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "Connection: close",
        "Cookie: evil",
        "TE: trailers",
        "Content-Type: evil",
        "Expect: 100-continue",
    ];
    for trailer in trailers {
        let name = trailer.split(':').next().unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: web.example\r\nTrailer: {name}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"
        );
        let before = table.backend.requests().len();
        table
            .forwards(&request, ["POST", "/", "web.example", "hello"])
            .await;
        let requests = table.backend.requests();
        let clean = requests[before..].iter().all(|seen| {
            seen.trailers.is_empty()
                && !format!("{:?}", seen.headers).contains("evil")
                && !format!("{:?}", seen.headers).contains("6.6.6.6")
        });
        table.note(&request, clean, &requests[before..]);
    }
    table.finish(2 * trailers.len());
}
