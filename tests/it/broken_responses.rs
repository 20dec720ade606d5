//! Responses that break off, have two readings, or go on behind their end.

use std::time::Duration;

use crate::support::{
    Ask, End, Ending, PairedBackend, Pairing, Protocol, RecordingBackend, Reply, TestApp, ask, ok,
    start_balancer, talk,
};

const PATIENCE: Duration = Duration::from_secs(20);
const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
/// One worker, so that there is one set of kept connections.
const ONE_WORKER: &str = "workers: 1\n";

/// A backend that answers each whole request with these bytes, and goes on.
async fn answering(response: impl Into<Vec<u8>>) -> RecordingBackend {
    let response = std::sync::Arc::new(response.into());
    RecordingBackend::scripted(move |mut wire| {
        let response = std::sync::Arc::clone(&response);
        async move {
            while wire.request().await.is_some() && wire.send(response.as_slice()).await {}
        }
    })
    .await
}

async fn status(app: &TestApp, client: Protocol) -> u16 {
    ask(client, app.http.unwrap(), &Ask::get("/")).await.status
}

/// nginx's `proxy_unfinished.t`: never an end that looks clean.
#[tokio::test]
async fn a_response_that_breaks_off_looks_broken() {
    let mut cases = 0;
    for pairing in Pairing::ALL {
        for ending in [Ending::Closed, Ending::Reset, Ending::Stalled] {
            let backend = PairedBackend::start(pairing.backend, Reply::body("part"), ending).await;
            let waits = "    idle_timeout: 200ms\n";
            let app = start_balancer(&[backend.url()], waits, "", "");
            let answer = ask(pairing.client, app.http.unwrap(), &Ask::get("/")).await;
            // Over HTTP/2 it may break before its head is seen.
            let is_refused = answer.status == 502 && pairing.backend == Protocol::Http2;
            assert!(
                is_refused || !answer.is_whole,
                "{pairing:?} {ending:?} {answer:?}"
            );
            cases += 1;
        }
    }
    for client in CLIENTS {
        // Fewer bytes than announced; a chunk, and then what is none.
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nnonsense\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0x0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart!!\r\n0\r\n\r\n",
        ] {
            let backend = RecordingBackend::scripted(move |mut wire| async move {
                wire.request().await;
                wire.send(response).await;
            });
            let backend = backend.await;
            let app = start_balancer(&[backend.url()], "", "", "");
            let answer = ask(client, app.http.unwrap(), &Ask::get("/")).await;
            assert!(!answer.is_whole, "{client:?} {response:?} {answer:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 3 * Pairing::ALL.len() + 8);
}

/// nginx's `proxy_duplicate_headers.t`, and heads that are none.
#[tokio::test]
async fn responses_with_two_readings_are_bad_gateways() {
    let responses = no_responses();
    let count = responses.len();
    let mut wrong = Vec::new();
    for response in responses {
        let text = response.clone();
        let backend = RecordingBackend::scripted(move |mut wire| {
            let response = text.clone();
            async move {
                wire.request().await;
                wire.send(&response).await;
            }
        });
        let backend = backend.await;
        let app = start_balancer(
            &[backend.url()],
            "    response_timeout: 2s\n",
            "",
            ONE_WORKER,
        );
        for client in CLIENTS {
            let status = status(&app, client).await;
            if status != 502 {
                let start: String = response.chars().take(100).collect();
                wrong.push(format!("{client:?} {status} {start:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        2 * count
    );
    assert_eq!(count, 32);
}

/// A backend that has answered before is no less at fault, and is not asked again.
#[tokio::test]
async fn nonsense_on_a_kept_connection_is_the_backends_fault() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        wire.send(ok("fine")).await;
        wire.request().await;
        wire.send("nonsense\r\n\r\n").await;
        wire.until_closed().await;
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    for expected in [200, 502, 200, 502] {
        assert_eq!(status(&app, Protocol::Http1).await, expected);
    }
    assert_eq!(backend.requests().len(), 4);
    let addr = backend.addr;
    let failures = format!("weir_backend_failures_total{{upstream=\"app\",backend=\"{addr}\"}}");
    assert_eq!(app.metric(&failures).await, 2);
    let faults = "weir_http_faults_total{cause=\"bad_response\"}";
    assert_eq!(app.metric(faults).await, 2);
}

/// A body of two readings is one thing; the connection that it came on is another.
#[tokio::test]
async fn what_follows_a_whole_response_is_dropped_with_its_connection() {
    let cases = [
        ("GET", ok("fine") + "extra", "fine"),
        ("GET", ok("fine") + &ok("second"), "fine"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\nextra"
                .to_owned(),
            "fine",
        ),
        ("HEAD", ok("fine"), ""),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nbody".to_owned(), ""),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
            "",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
            "",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
                .to_owned(),
            "",
        ),
    ];
    let count = cases.len();
    for (method, response, body) in cases {
        let backend = answering(response.clone()).await;
        let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
        for client in CLIENTS {
            let request = Ask {
                method,
                ..Ask::get("/")
            };
            // Twice, for what was left over would be the second answer.
            for _ in 0..2 {
                let answer = ask(client, app.http.unwrap(), &request).await;
                let seen = (
                    answer.status < 305,
                    String::from_utf8_lossy(&answer.body).into_owned(),
                );
                assert_eq!(seen, (true, body.to_owned()), "{client:?} {response:?}");
            }
        }
        assert_eq!(backend.requests().len(), 4);
        assert_eq!(backend.connections(), 4, "{response:?}");
    }
    assert_eq!(count, 8);
}

/// The client's connection goes on behind a response without a body.
#[tokio::test]
async fn a_body_that_must_not_be_leaves_the_client_in_step() {
    let backend = answering("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/").await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    let requests =
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let talk = talk(app.http.unwrap(), requests, PATIENCE).await;
    assert_eq!((talk.statuses(), talk.end), (vec![204, 204], End::Closed));
    assert!(!talk.text().contains("HTTP/HTTP/"), "{}", talk.text());
}

fn no_responses() -> Vec<String> {
    let large = format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 0\r\n\r\n",
        "b".repeat(200 << 10)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "A: b\r\n".repeat(200)
    );
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n5\r\nhello\r\n0\r\n\r\n");
    vec![
        head("Content-Length: 5\r\nContent-Length: 6\r\n"),
        head("Content-Length: 5, 6\r\n"),
        head("Content-Length: +5\r\n"),
        head("Content-Length: -1\r\n"),
        head("Content-Length: 0x5\r\n"),
        head("Content-Length: 5 5\r\n"),
        head("Content-Length: \r\n"),
        head("Content-Length: 99999999999999999999\r\n"),
        head("Transfer-Encoding: gzip\r\n"),
        head("Transfer-Encoding: gzip, chunked\r\n"),
        head("Transfer-Encoding: chunked, chunked\r\n"),
        head("Transfer-Encoding: chunked, identity\r\n"),
        head("Transfer-Encoding: identity\r\n"),
        head("Transfer-Encoding: \r\n"),
        head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        head("A: b\0c\r\nContent-Length: 0\r\n"),
        head("A: b\rc\r\nContent-Length: 0\r\n"),
        head("no colon\r\n"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "hello, this is no HTTP\r\n\r\n".to_owned(),
        "<html>HTTP/0.9 has no head</html>".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 abc OK\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
        "HTTP/1.1 200".to_owned(),
        String::new(),
        large,
        many,
    ]
}
