//! What stands in the access log, byte for byte, and that every line reaches the disk.

use std::fs;

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Ask, End, FakeBackend, Protocol, RecordingBackend, Script, ask, eventually, get,
    logged::{Logged, UPGRADE, echo, fields, json, lines, of, outcome},
    metric, ok, raw_http2,
};

#[tokio::test]
async fn bytes_client_and_id_are_exact() {
    let body = "b".repeat(70_000);
    let large = FakeBackend::start(Script::ReadBody(50_000, ok(&body))).await;
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    let chunked = FakeBackend::start(Script::Reply(chunked.to_owned())).await;
    let fine = RecordingBackend::replying("fine").await;
    let url = |backend: &FakeBackend| [format!("http://{}", backend.addr)];
    let logged = Logged::start(
        "json",
        &[
            ("large", &url(&large)),
            ("chunked", &url(&chunked)),
            ("fine", &[fine.url()]),
        ],
    );
    let mut client = logged.client().await;
    let upload = "u".repeat(50_000);
    let head = "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n";
    client.send(head.to_owned() + &upload).await;
    assert_eq!(client.answer().await.body.len(), 70_000);
    client.send("HEAD /fine/head HTTP/1.1\r\nHost: x\r\nX-Request-Id: given\r\nX-Forwarded-For: 203.0.113.1, 203.0.113.2\r\n\r\n").await;
    client.head().await;
    client.send("POST /fine/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n6\r\nfghijk\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "fine");
    let http = logged.app.http.unwrap();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let target = match protocol {
            Protocol::Http1 => "/chunked/1",
            Protocol::Http2 => "/chunked/2",
        };
        let request = Ask::get(target).header("x-forwarded-for", "2001:db8::1");
        assert_eq!(ask(protocol, http, &request).await.body, b"abcdefg");
    }
    drop(client);
    let (lines, _) = logged.stop().await;
    assert_eq!(lines.len(), 5);
    let lines = json(&lines);
    for (target, sent, received, protocol, client) in [
        ("/large", 70_000, 50_000, "HTTP/1.1", "127.0.0.1"),
        ("/fine/head", 0, 0, "HTTP/1.1", "203.0.113.2"),
        ("/fine/upload", 4, 11, "HTTP/1.1", "127.0.0.1"),
        ("/chunked/1", 7, 0, "HTTP/1.1", "2001:db8::1"),
        ("/chunked/2", 7, 0, "HTTP/2.0", "2001:db8::1"),
    ] {
        let line = of(&lines, target);
        assert_eq!(line["body_bytes_sent"], sent, "{target}");
        assert_eq!(line["body_bytes_received"], received, "{target}");
        assert_eq!(line["protocol"], protocol, "{target}");
        assert_eq!(line["client"], client, "{target}");
        let (first, total) = (&line["first_byte_seconds"], &line["total_seconds"]);
        assert!(first.as_f64().unwrap() <= total.as_f64().unwrap(), "{line}");
    }
    for seen in fine.requests() {
        let line = of(&lines, &seen.target);
        assert_eq!(line["request_id"], seen.value("x-request-id"));
    }
    assert_eq!(of(&lines, "/fine/head")["request_id"], "given");
}

/// What is refused before it is a request: nobody else would say why the client complains.
#[tokio::test]
async fn heads_that_are_no_requests_have_lines() {
    let fine = RecordingBackend::replying("fine").await;
    let limits = "connections: { header_timeout: 300ms }\n";
    let logged = Logged::start_with("json", &[("fine", &[fine.url()])], limits);
    let many: String = (0..200).map(|n| format!("X-{n}: x\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    for (head, status) in [
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1} this is TLS\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{long}\r\n"), 431),
        ("GET /slow HTTP/1.1\r\nHost:".to_owned(), 408),
    ] {
        let mut client = logged.client().await;
        // As one that was refused early.
        assert_eq!(client.get("/fine").await.status, 200);
        client.send(head).await;
        assert_eq!(client.answer().await.status, status);
        assert_eq!(client.rest().await, (Vec::new(), End::Closed));
    }
    let connections = "weir_connections_closed_total{cause=\"header_timeout\"}";
    logged.app.until_metric(connections, 1).await;
    let page = logged.app.metrics().await;
    for (name, expected) in [
        ("weir_http_faults_total{cause=\"bad_request\"}", 2),
        ("weir_http_faults_total{cause=\"head_limit\"}", 2),
        ("weir_http_faults_total{cause=\"client_stalled\"}", 1),
        ("weir_connections_closed_total{cause=\"malformed_head\"}", 2),
        ("weir_connections_closed_total{cause=\"head_limit\"}", 2),
        ("weir_connections_closed_total{cause=\"header_timeout\"}", 1),
        (
            "weir_connections_closed_total{cause=\"connection_error\"}",
            0,
        ),
    ] {
        assert_eq!(metric(&page, name), expected, "{name}");
    }
    let (lines, _) = logged.stop().await;
    let lines = json(&lines);
    let refused = lines.iter().filter(|line| line["target"].is_null());
    let outcomes: Vec<_> = refused
        .map(|line| {
            (
                line["status"].as_u64().unwrap(),
                line["cause"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (400, "bad_request"),
        (400, "bad_request"),
        (431, "head_limit"),
        (431, "head_limit"),
        (408, "client_stalled"),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(lines.len(), 10);
}

#[tokio::test]
async fn a_tunnel_tells_what_it_carried_and_how_it_ended() {
    let tunnel = echo().await;
    let logged = Logged::start("json", &[("tunnel", &[tunnel.url()])]);
    let mut clients = Vec::new();
    for target in ["/tunnel/left", "/tunnel/cut"] {
        let mut client = logged.client().await;
        client.send(UPGRADE.replacen("/tunnel", target, 1)).await;
        client.head().await;
        client.send("hello").await;
        assert_eq!(client.text(5).await, "hello");
        clients.push(client);
    }
    let mut left = clients.remove(0);
    left.send("more").await;
    assert_eq!(left.text(4).await, "more");
    left.stream.shutdown().await.unwrap();
    assert_eq!(left.rest().await.1, End::Closed);
    logged.app.until_metric("weir_calls_in_flight", 1).await;
    // The second stop ends the drain.
    logged.app.stop().await;
    logged.app.stop().await;
    logged.app.stopped().await;
    let lines = json(&lines(&logged.path));
    for (target, bytes, cause) in [("/tunnel/left", 9, "ok"), ("/tunnel/cut", 5, "cut")] {
        let line = of(&lines, target);
        assert_eq!(line["cause"], cause, "{line}");
        assert_eq!(line["body_bytes_sent"], bytes, "{line}");
        assert_eq!(line["body_bytes_received"], bytes, "{line}");
    }
}

/// Whose fault it is that a response breaks off.
#[tokio::test]
async fn a_body_that_breaks_its_response_is_named() {
    let echo = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
            .await;
        wire.until_closed().await;
    });
    let echo = echo.await;
    let logged = Logged::start("json", &[("echo", &[echo.url()])]);
    let long = format!("{:x}\r\n{}\r\n", 200_000, "x".repeat(200_000));
    for (target, rest) in [("/echo/long", long.as_str()), ("/echo/bad", "zz\r\n")] {
        let mut client = logged.client().await;
        client
            .send(format!(
                "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
            ))
            .await;
        client.head().await;
        let _closed_already = client.stream.write_all(rest.as_bytes()).await;
        assert_ne!(client.rest().await.1, End::Open, "{target}");
    }
    let (lines, _) = logged.stop().await;
    let lines = json(&lines);
    assert_eq!(outcome(&lines, "/echo/long").2, "body_limit");
    assert_eq!(outcome(&lines, "/echo/bad").2, "bad_request");
}

#[tokio::test]
async fn nobody_can_forge_a_line() {
    for format in ["json", "combined"] {
        let fine = RecordingBackend::replying("fine").await;
        let logged = Logged::start(format, &[("fine", &[fine.url()])]);
        let mut client = logged.client().await;
        let agent = b"a\" 200 \"\\\xe2\x80\xa8\xff{\"cause\":\"ok\"}\r\nReferer: \"\r\nX-Request-Id: \"\\\"\r\n\r\n";
        let head = b"GET /fine/%0d%0a{}'| HTTP/1.1\r\nHost: x\r\nUser-Agent: ";
        client.send([&head[..], &agent[..]].concat()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // Quotes may be refused in a target, or not.
        for target in [
            "/fine/\"a",
            "/fine/?\"",
            "/fine/a\\",
            "/fine/<a>",
            "/fine/\u{85}",
        ] {
            let mut client = logged.client().await;
            client
                .send(format!(
                    "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                ))
                .await;
            client.rest().await;
            let mut http2 = raw_http2::RawHttp2::connect(logged.app.http.unwrap(), &[]).await;
            let mut head = raw_http2::GET;
            head[3].1 = target;
            http2.send_head(1, &head).await;
            http2.outcome(1).await;
        }
        // Line ends themselves come through neither protocol.
        for line_end in ["\r", "\n", "\0"] {
            let mut client = logged.client().await;
            client
                .send(format!("GET /fine/x{line_end}y HTTP/1.1\r\nHost: x\r\nUser-Agent: a{line_end}forged\r\n\r\n"))
                .await;
            let (answer, _) = client.rest().await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
            let mut http2 = raw_http2::RawHttp2::connect(logged.app.http.unwrap(), &[]).await;
            let agent = format!("a{line_end}forged");
            let mut fields = raw_http2::GET.to_vec();
            fields[3].1 = "/fine/http2";
            fields.push(("user-agent", &agent));
            http2.send_head(1, &fields).await;
            let outcome = http2.outcome(1).await;
            assert_ne!(outcome, raw_http2::Outcome::Status(200));
        }
        drop(client);
        let (lines, _) = logged.stop().await;
        let forged = lines
            .iter()
            .filter(|line| line.starts_with("forged"))
            .count();
        assert_eq!(forged, 0, "{lines:#?}");
        for line in &lines {
            match format {
                "json" => assert_eq!(json(std::slice::from_ref(line))[0]["client"], "127.0.0.1"),
                _ => assert_eq!(fields(line).len(), 18, "{line}"),
            }
        }
        let ours = lines.iter().filter(|line| line.contains("%0d%0a")).count();
        assert_eq!(ours, 1, "{lines:#?}");
    }
}

#[tokio::test]
async fn a_reload_opens_the_file_anew() {
    let fine = RecordingBackend::replying("fine").await;
    let tunnel = echo().await;
    let routes: [(&str, &[String]); 2] = [("fine", &[fine.url()]), ("tunnel", &[tunnel.url()])];
    let logged = Logged::start("json", &routes);
    let mut open = logged.client().await;
    open.send(UPGRADE).await;
    open.head().await;
    let mut client = logged.client().await;
    client.get("/fine/1").await;
    logged.until_lines(1).await;
    // A tunnel has no line before it ends.
    assert_eq!(json(&logged.lines())[0]["target"], "/fine/1");
    let rotated = logged.path.with_extension("1");
    fs::rename(&logged.path, &rotated).unwrap();
    logged.app.reload().await;
    eventually("a new file", async || logged.path.exists()).await;
    client.get("/fine/2").await;
    drop((client, open));
    let Logged { app, path, .. } = &logged;
    app.until_metric("weir_calls_in_flight", 0).await;
    app.stop().await;
    eventually("the end", async || lines(path).len() == 2).await;
    let (old, new) = (lines(&rotated), lines(path));
    let targets = |lines: &[String]| -> Vec<String> {
        let targets = json(lines).into_iter();
        let mut targets: Vec<_> = targets
            .map(|line| line["target"].as_str().unwrap().to_owned())
            .collect();
        targets.sort();
        targets
    };
    assert_eq!(targets(&old), ["/fine/1"]);
    assert_eq!(targets(&new), ["/fine/2", "/tunnel"]);
}

#[tokio::test]
async fn a_stop_leaves_no_line_behind() {
    const CLIENTS: usize = 8;
    const EACH: usize = 200;
    let fine = RecordingBackend::replying("fine").await;
    let long = FakeBackend::start(Script::Drip("x".repeat(100_000))).await;
    let urls = [format!("http://{}", long.addr)];
    let logged = Logged::start("json", &[("fine", &[fine.url()]), ("long", &urls)]);
    let asking = (0..CLIENTS).map(async |index| {
        let mut client = logged.client().await;
        for request in 0..EACH {
            client.get(&format!("/fine/{index}/{request}")).await;
        }
        client
    });
    let mut clients = futures_util::future::join_all(asking).await;
    // One is in flight when the end comes.
    clients[0].send(get("/long")).await;
    clients[0].head().await;
    logged.app.stop().await;
    // The second stop ends the drain.
    logged.app.stop().await;
    let report = logged.app.stopped().await;
    assert_eq!(report.cut, 1, "{report}");
    let lines = json(&lines(&logged.path));
    assert_eq!(lines.len(), CLIENTS * EACH + 1);
    assert_eq!(outcome(&lines, "/long").2, "cut");
    let mut targets: Vec<&str> = lines
        .iter()
        .map(|line| line["target"].as_str().unwrap())
        .collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), CLIENTS * EACH + 1);
}
