//! What becomes of headers between a client and a backend, whatever both speak.

use std::{net::SocketAddr, time::Duration};

use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Answer, Ask, End, Ending, PairedBackend, Pairing, Protocol, Reply, SeenAsk, Table, TestApp,
    ask,
    raw_http2::{GET, Outcome, RawHttp2},
    read_to_end, start_balancer,
};

/// Sends one request through the balancer; what the backend saw of it, and the answer.
async fn through(
    pairing: Pairing,
    listener: &str,
    request: &Ask,
    reply: Reply,
) -> (SeenAsk, Answer) {
    let backend = PairedBackend::start(pairing.backend, reply, Ending::Whole).await;
    let app = start_balancer(&[backend.url()], "", listener, "");
    let answer = ask(pairing.client, app.http.unwrap(), request).await;
    assert_eq!(answer.status, 200, "{pairing:?} {answer:?}");
    let [seen] = &backend.seen()[..] else {
        panic!("{pairing:?} {:?}", backend.seen());
    };
    (seen.clone(), answer)
}

#[track_caller]
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_request_and_its_response_arrive_as_they_were_sent() {
    for pairing in Pairing::ALL {
        let request = Ask::post("/a/b?c=d", "question").header("x-kept", "\"1, 2\"");
        let reply = Reply::body("answer")
            .header("x-kept", 1)
            .trailer("x-t", "u");
        let (seen, answer) = through(pairing, "", &request, reply).await;
        let head = [seen.method.as_str(), &seen.target, &seen.authority];
        assert_eq!(head, ["POST", "/a/b?c=d", "web.example"], "{pairing:?}");
        assert_eq!(values(&seen.headers, "x-kept"), ["\"1, 2\""]);
        assert_eq!(
            (seen.body.as_slice(), seen.trailers.len()),
            (&b"question"[..], 0)
        );
        assert_eq!(values(&answer.headers, "x-kept"), ["1"]);
        assert!(
            answer.is_whole && answer.body == b"answer",
            "{pairing:?} {answer:?}"
        );
        // They may be dropped, but become nothing else.
        assert!(!answer.headers.contains_key("x-t"));
        let trailers = values(&answer.trailers, "x-t");
        assert!(
            trailers.is_empty() || trailers == ["u"],
            "{pairing:?} {answer:?}"
        );
    }
}

/// RFC 9110 section 6.5.1, the other way.
#[tokio::test]
async fn forbidden_trailers_of_a_response_become_no_headers() {
    for pairing in Pairing::ALL {
        let reply = Reply::body("answer")
            .trailer("content-length", "99")
            .trailer("set-cookie", "evil=1")
            .trailer("transfer-encoding", "chunked")
            .trailer("connection", "close");
        // An HTTP/2 backend cannot send the last two: that is a broken response.
        if pairing.backend == Protocol::Http2 {
            continue;
        }
        let (_, answer) = through(pairing, "", &Ask::get("/"), reply).await;
        assert!(
            answer.is_whole && answer.body == b"answer",
            "{pairing:?} {answer:?}"
        );
        assert!(
            !format!("{:?}", answer.headers).contains("evil"),
            "{answer:?}"
        );
        for name in ["content-length", "transfer-encoding", "connection"] {
            assert!(
                !answer.trailers.contains_key(name),
                "{pairing:?} {answer:?}"
            );
        }
    }
}

/// CVE-2024-45410: what `Connection` names goes first, and only then come our own headers.
#[tokio::test]
async fn ours_arrive_though_connection_names_them() {
    let request = Ask::get("/")
        .header(
            "connection",
            "close, X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, Authorization, Host",
        )
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-real-ip", "6.6.6.6")
        .header("authorization", "secret");
    let pairing = Pairing::of(Protocol::Http1, Protocol::Http1);
    let untrusted = "    trusted_proxies: [10.0.0.0/8]\n";
    let (seen, _) = through(pairing, untrusted, &request, Reply::default()).await;
    for (name, expected) in [
        ("x-forwarded-for", &["127.0.0.1"][..]),
        ("x-real-ip", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["web.example"]),
        ("host", &["web.example"]),
        ("authorization", &[]),
        ("connection", &[]),
    ] {
        assert_eq!(values(&seen.headers, name), expected, "{name}");
    }
    assert_eq!(values(&seen.headers, "x-request-id").len(), 1);
}

#[tokio::test]
async fn hop_by_hop_headers_go_neither_way() {
    const NAMES: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "proxy",
        "x-named",
    ];
    for pairing in Pairing::ALL {
        let mut request = Ask::get("/")
            .header("accept", "*/*")
            .header("proxy", "evil");
        // An HTTP/2 client that sends one of the others is reset (see `http2_clients`).
        if pairing.client == Protocol::Http1 {
            request = request
                .header("connection", "close, X-Named, keep-alive")
                .header("x-named", 1)
                .header("keep-alive", "timeout=5")
                .header("proxy-connection", "keep-alive")
                .header("te", "trailers, deflate")
                .header("trailer", "X-T")
                .header("upgrade", "h2c, websocket")
                .header("http2-settings", "AAMAAABkAAQAAP__");
        }
        let mut reply = Reply::body("x").header("x-kept", 1).header("proxy", "evil");
        if pairing.backend == Protocol::Http1 {
            reply = reply
                .header("connection", "X-Named, keep-alive")
                .header("x-named", 1)
                .header("keep-alive", "timeout=5")
                .header("proxy-connection", "keep-alive")
                .header("te", "trailers")
                .header("trailer", "X-T")
                .header("upgrade", "h2c");
        }
        let (seen, answer) = through(pairing, "", &request, reply).await;
        assert_eq!(values(&seen.headers, "accept"), ["*/*"]);
        assert_eq!(values(&answer.headers, "x-kept"), ["1"]);
        for name in NAMES {
            assert!(!seen.headers.contains_key(name), "{pairing:?} {seen:?}");
            // Our own `Connection: close` is what the client asked for.
            let expected = match (name, pairing.client) {
                ("connection", Protocol::Http1) => vec!["close"],
                _ => Vec::new(),
            };
            assert_eq!(
                values(&answer.headers, name),
                expected,
                "{pairing:?} {name}"
            );
        }
    }
}

#[tokio::test]
async fn names_that_pass_for_others_do_not_arrive() {
    const NAMES: [&str; 6] = [
        "x_forwarded_for",
        "X_Real-Ip",
        "content_length",
        "transfer_encoding",
        "_",
        "x-a_b",
    ];
    for pairing in Pairing::ALL {
        let request = NAMES
            .iter()
            .fold(Ask::get("/"), |request, name| request.header(name, "6"));
        let (seen, _) = through(pairing, "", &request, Reply::default()).await;
        let underscored = seen.headers.keys().find(|name| name.as_str().contains('_'));
        assert_eq!(underscored, None, "{pairing:?} {seen:?}");
    }
}

/// A backend may believe these over what is set for it.
#[tokio::test]
async fn what_a_client_says_as_if_it_were_a_proxy_counts_from_proxies_alone() {
    const CLAIMS: [&str; 4] = [
        "forwarded",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "X-Forwarded-Ssl",
    ];
    let request = CLAIMS
        .iter()
        .fold(Ask::get("/"), |request, name| request.header(name, "mine"));
    for pairing in Pairing::ALL {
        for (proxies, expected) in [("10.0.0.0/8", 0), ("127.0.0.0/8", 1)] {
            let listener = format!("    trusted_proxies: [{proxies}]\n");
            let (seen, _) = through(pairing, &listener, &request, Reply::default()).await;
            for name in CLAIMS {
                let arrived = values(&seen.headers, name).len();
                assert_eq!(arrived, expected, "{pairing:?} {proxies} {name}");
            }
            // Only those that are claims.
            assert_eq!(values(&seen.headers, "x-forwarded-proto"), ["http"]);
        }
    }
}

/// On a socket for both families an IPv4 client looks like an IPv6 one.
#[tokio::test]
async fn an_ipv4_client_is_one_on_every_listener() {
    let backend = PairedBackend::start(Protocol::Http1, Reply::default(), Ending::Whole).await;
    let app = TestApp::start(
        "",
        &format!(
            "http:\n  - listen: \"[::]:0\"\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams:\n  app: {{ backends: [\"{}\"] }}\n",
            backend.url()
        ),
    );
    let addr = SocketAddr::from(([127, 0, 0, 1], app.http.unwrap().port()));
    assert_eq!(ask(Protocol::Http1, addr, &Ask::get("/")).await.status, 200);
    let seen = &backend.seen()[0];
    for name in ["x-real-ip", "x-forwarded-for"] {
        assert_eq!(values(&seen.headers, name), ["127.0.0.1"], "{name}");
    }
}

/// Each case: the listener's trusted proxies, the client's chain, and who asked.
#[tokio::test]
async fn the_client_is_the_first_from_the_right_whom_nobody_vouches_for() {
    let cases = [
        ("10.0.0.0/8", "6.6.6.6", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.0/8", "6.6.6.6", "6.6.6.6", "6.6.6.6, 127.0.0.1"),
        (
            "127.0.0.0/8",
            "6.6.6.6, 9.9.9.9",
            "9.9.9.9",
            "6.6.6.6, 9.9.9.9, 127.0.0.1",
        ),
        (
            "127.0.0.0/8, 10.0.0.0/8",
            "6.6.6.6, 9.9.9.9, 10.1.1.1",
            "9.9.9.9",
            "6.6.6.6, 9.9.9.9, 10.1.1.1, 127.0.0.1",
        ),
        (
            "127.0.0.0/8, 10.0.0.0/8",
            "6.6.6.6, garbage, 10.1.1.1",
            "10.1.1.1",
            "6.6.6.6, garbage, 10.1.1.1, 127.0.0.1",
        ),
        ("127.0.0.0/8", "garbage", "127.0.0.1", "garbage, 127.0.0.1"),
        (
            "127.0.0.0/8",
            "2001:db8::1",
            "2001:db8::1",
            "2001:db8::1, 127.0.0.1",
        ),
    ];
    let mut seen_cases = 0;
    for (trusted, chain, real_ip, forwarded_for) in cases {
        for pairing in Pairing::ALL {
            let request = Ask::get("/")
                .header("x-forwarded-for", chain)
                .header("x-real-ip", "6.6.6.6");
            let listener = format!("    trusted_proxies: [{trusted}]\n");
            let (seen, _) = through(pairing, &listener, &request, Reply::default()).await;
            assert_eq!(values(&seen.headers, "x-real-ip"), [real_ip], "{chain}");
            assert_eq!(values(&seen.headers, "x-forwarded-for"), [forwarded_for]);
            seen_cases += 1;
        }
    }
    assert_eq!(seen_cases, cases.len() * Pairing::ALL.len());
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let mut table = Table::start("").await;
    let head =
        |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
    let fine = ["GET", "/", "a", ""];
    table.forwards(head(&"A: b\r\n".repeat(98)), fine).await;
    table.refuses(head(&"A: b\r\n".repeat(99)), &[431]).await;
    table.refuses(head(&"A: b\r\n".repeat(5000)), &[431]).await;
    let value = |length: usize| format!("A: {}\r\n", "b".repeat(length));
    table.forwards(head(&value(47 << 10)), fine).await;
    table.refuses(head(&value(49 << 10)), &[431]).await;
    table.refuses(head(&value(70 << 10)), &[431]).await;
    table.refuses(head(&value(1 << 20)), &[431]).await;
    for length in [49 << 10, 65_534, 65_535, 1 << 20] {
        let target = format!("/{}", "x".repeat(length));
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        table.refuses(request, &[414, 431]).await;
    }
    table.finish(11);
}

/// hyper #4081: a limit that only counted what came in one read.
#[tokio::test]
async fn a_head_in_many_reads_is_no_larger() {
    let table = Table::start("").await;
    let mut stream = TcpStream::connect(table.app.http.unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut sent = 0;
    let sending = async {
        let mut part = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        while writer.write_all(&part).await.is_ok() && sent < 4 << 20 {
            sent += part.len();
            part = format!("A{sent}: {}\r\n", "b".repeat(1000)).into_bytes();
            // So that the other side reads each on its own.
            tokio::task::yield_now().await;
        }
    };
    let mut received = Vec::new();
    tokio::select! {
        () = sending => {}
        _ = reader.read_to_end(&mut received) => {}
    }
    let rest = read_to_end(&mut stream, Duration::from_secs(3)).await;
    received.extend_from_slice(&rest.received);
    let text = String::from_utf8_lossy(&received);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431"),
        "{text}"
    );
    assert!(
        rest.end != End::Open && sent < 4 << 20,
        "{sent} bytes taken"
    );
    assert_eq!(table.backend.connections(), 0);
    table.finish(0);
}

#[tokio::test]
async fn an_http2_head_that_is_too_large_is_refused() {
    let table = Table::start("").await;
    let mut refused = 0;
    // The list counts 32 bytes a field besides its text.
    for (fields, length, expected) in [
        (40, 1000, 200),
        (49, 1000, 431),
        (1200, 1, 200),
        (1500, 1, 431),
    ] {
        let mut client = RawHttp2::connect(table.app.http.unwrap(), &[]).await;
        let value = "b".repeat(length);
        let mut list = GET.to_vec();
        list.extend((0..fields).map(|_| ("a", value.as_str())));
        client.send_head(1, &list).await;
        let outcome = client.outcome(1).await;
        // Of that many fields HTTP/1.1 takes none.
        let holds =
            outcome == Outcome::Status(expected) || fields > 100 && outcome == Outcome::Status(431);
        assert!(holds, "{fields} fields of {length}: {outcome:?}");
        refused += usize::from(outcome == Outcome::Status(431));
    }
    assert!(refused >= 2);
    table.backend.requests();
}
