//! HTTP/2 requests that no library sends: the stream is reset or answered 400, and no backend
//! hears of it.

use crate::support::{
    RecordingBackend, TestApp,
    raw_http2::{
        END_HEADERS, END_STREAM, GET, HEADERS, Outcome, POST, RawHttp2, block, data, frame, headers,
    },
    start_balancer,
};

const PROTOCOL_ERROR: u32 = 1;

async fn start() -> (TestApp, RecordingBackend) {
    let backend = RecordingBackend::replying("fine").await;
    (start_balancer(&[backend.url()], "", "", ""), backend)
}

/// Sends frames as stream 1 of a connection; what becomes of it.
async fn outcome(app: &TestApp, frames: &[u8]) -> Outcome {
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    client.send(frames).await;
    client.outcome(1).await
}

fn is_refused(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Status(400) | Outcome::Reset(PROTOCOL_ERROR) | Outcome::GoAway(PROTOCOL_ERROR)
    )
}

#[tokio::test]
async fn a_plain_request_by_hand_arrives() {
    let (app, backend) = start().await;
    assert_eq!(
        outcome(&app, &headers(1, true, &GET)).await,
        Outcome::Status(200)
    );
    let parts = [
        headers(
            1,
            false,
            &[&POST[..], &[("content-length", "5"), ("te", "trailers")]].concat(),
        ),
        data(1, false, b"he"),
        data(1, true, b"llo"),
    ];
    assert_eq!(outcome(&app, &parts.concat()).await, Outcome::Status(200));
    let seen = backend.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].body, b"hello");
    assert_eq!(seen[1].value("content-length"), "5");
    assert_eq!(seen[1].value("host"), "web.example");
}

#[tokio::test]
async fn fields_that_have_no_place_in_http2_are_refused() {
    let fields = [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("connection", "x-forwarded-for"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "websocket"),
        ("te", "deflate"),
        ("te", "trailers, deflate"),
        ("Accept", "x"),
        ("x-A", "x"),
        ("", "x"),
        (" a", "x"),
        ("a ", "x"),
        ("a:", "x"),
        ("a b", "x"),
        ("a\r\nb", "x"),
        ("a\0", "x"),
        ("\u{e4}", "x"),
        ("a", "b\r\nc: d"),
        ("a", "b\nc"),
        ("a", "b\rc"),
        ("a", "b\0c"),
        ("a", "b\u{1}"),
        ("a", "b\u{7f}"),
        (":path", "/again"),
        (":method", "POST"),
        (":authority", "other"),
        (":status", "200"),
        (":protocol", "websocket"),
        (":unknown", "x"),
        ("content-length", "-1"),
        ("content-length", "+0"),
        ("content-length", "0x0"),
        ("content-length", "0, 0"),
        ("content-length", "5, 6"),
        ("content-length", ""),
        ("content-length", "18446744073709551616"),
        ("host", "other"),
        ("host", "web.example:81"),
        ("host", "web.example, other"),
        ("host", ""),
    ];
    let (app, backend) = start().await;
    let mut accepted = Vec::new();
    for field in fields {
        let outcome = outcome(&app, &headers(1, true, &[&GET[..], &[field]].concat())).await;
        if !is_refused(outcome) {
            accepted.push((field, outcome));
        }
    }
    let received = String::from_utf8_lossy(&backend.received().concat()).into_owned();
    assert_eq!(accepted, [], "of {}, and {received:?}", fields.len());
    assert_eq!(received, "");
}

#[tokio::test]
async fn pseudo_headers_that_are_no_request_are_refused() {
    let heads = no_heads();
    let (app, backend) = start().await;
    let mut accepted = Vec::new();
    for head in &heads {
        let outcome = outcome(&app, &headers(1, true, head)).await;
        // A method and a path of that kind are somebody else's to serve.
        if !is_refused(outcome) && !matches!(outcome, Outcome::Status(405 | 501)) {
            accepted.push((head, outcome));
        }
    }
    assert_eq!(accepted, [], "of {}", heads.len());
    assert_eq!(heads.len(), 11 + 16 + 6 + 4 + 12);
    assert_eq!(backend.connections(), 0);
}

/// RFC 9113 section 8.3.1: without `:authority` the Host header says it.
#[tokio::test]
async fn host_stands_in_for_a_missing_authority() {
    let (app, backend) = start().await;
    let head = [GET[0], GET[1], GET[3], ("host", "web.example")];
    assert_eq!(
        outcome(&app, &headers(1, true, &head)).await,
        Outcome::Status(200)
    );
    let both = [&GET[..], &[("host", "WEB.example")]].concat();
    assert_eq!(
        outcome(&app, &headers(1, true, &both)).await,
        Outcome::Status(200)
    );
    let seen = backend.requests();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(request.value("host").eq_ignore_ascii_case("web.example"));
    }
}

#[tokio::test]
async fn a_length_that_lies_is_refused() {
    let (app, backend) = start().await;
    let post = |length| {
        headers(
            1,
            false,
            &[&POST[..], &[("content-length", length)]].concat(),
        )
    };
    let ended = headers(1, true, &[&POST[..], &[("content-length", "5")]].concat());
    let twice = [
        &POST[..],
        &[("content-length", "5"), ("content-length", "6")],
    ]
    .concat();
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b")]));
    let cases = [
        vec![ended],
        vec![post("5"), data(1, true, b"")],
        vec![post("5"), data(1, true, b"hell")],
        vec![post("5"), data(1, false, b"hell"), trailers.clone()],
        vec![post("5"), data(1, true, b"hello!")],
        vec![post("5"), data(1, false, b"hello"), data(1, true, b"!")],
        vec![post("5"), trailers],
        vec![post("0"), data(1, true, b"x")],
        vec![headers(1, false, &twice), data(1, true, b"hello")],
    ];
    let count = cases.len();
    for (index, frames) in cases.into_iter().enumerate() {
        let outcome = outcome(&app, &frames.concat()).await;
        assert!(is_refused(outcome), "case {index}: {outcome:?}");
    }
    assert_eq!(count, 9);
    // Nothing whole arrived; and what did not arrive whole was cut off.
    assert_eq!(backend.seen().0, []);
    app.until_metric("weir_calls_in_flight", 0).await;
}

/// What h2 takes for a length, and what a backend may read as another, or as none: refused, or
/// sent on with one length or none.
#[tokio::test]
async fn a_doubtful_length_has_one_reading_at_the_backend() {
    let mut cases = 0;
    let mut wrong = Vec::new();
    for lengths in [
        vec![("content-length", "")],
        vec![("content-length", "005")],
        vec![("content-length", " 5")],
        vec![("content-length", "5 ")],
        vec![("content-length", "5"), ("content-length", "")],
        vec![("content-length", "5"), ("content-length", "5")],
    ] {
        for body in [true, false] {
            let (app, backend) = start().await;
            let head = headers(1, !body, &[&POST[..], &lengths].concat());
            let frames = [
                head,
                if body {
                    data(1, true, b"hello")
                } else {
                    Vec::new()
                },
            ];
            let outcome = outcome(&app, &frames.concat()).await;
            let expected = if body { &b"hello"[..] } else { b"" };
            let seen = backend.try_seen();
            let holds = match (outcome, seen.as_ref().map(|seen| &seen.0[..])) {
                (Outcome::Status(200), Ok([request])) => request.body == expected,
                (_, Ok([])) => is_refused(outcome),
                _ => false,
            };
            if !holds {
                wrong.push(format!("{lengths:?} {body} {outcome:?} {seen:?}"));
            }
            cases += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}: {wrong:#?}", wrong.len());
    assert_eq!(cases, 12);
}

fn no_heads() -> Vec<Vec<(&'static str, &'static str)>> {
    const METHOD: (&str, &str) = GET[0];
    const SCHEME: (&str, &str) = GET[1];
    const AUTHORITY: (&str, &str) = GET[2];
    const PATH: (&str, &str) = GET[3];
    let path = |path| [METHOD, SCHEME, AUTHORITY, (":path", path)];
    let authority = |authority| [METHOD, SCHEME, (":authority", authority), PATH];
    let mut heads: Vec<Vec<(&str, &str)>> = [
        "",
        "a",
        "*",
        "/ x",
        "/\t",
        "/\r\nX: y",
        "/\0",
        "//\r\n",
        "http://x/",
        "?a",
        "/ HTTP/1.1\r\nX: y",
    ]
    .map(|text| path(text).to_vec())
    .into();
    let authorities = [
        "",
        "a@b",
        "a,b",
        "a, b",
        "a b",
        "a/b",
        "a..b",
        "a:b",
        "a:65536",
        "[::1",
        "a\r\nX: y",
        "a\0",
        "http://a",
        "a?b",
        "a#b",
        ":80",
    ];
    heads.extend(authorities.map(|text| authority(text).to_vec()));
    for method in [
        "GET?",
        "",
        "G ET",
        "GET / HTTP/1.1\r\nX: y",
        "G\0",
        "CONNECT",
    ] {
        heads.push(vec![(":method", method), SCHEME, AUTHORITY, PATH]);
    }
    for scheme in ["http://x/?", "ht tp", "http\r\n", "\0"] {
        heads.push(vec![METHOD, (":scheme", scheme), AUTHORITY, PATH]);
    }
    heads.extend([
        vec![SCHEME, AUTHORITY, PATH],
        vec![METHOD, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY],
        vec![METHOD, SCHEME, PATH],
        vec![],
        // Late, or twice.
        vec![METHOD, SCHEME, AUTHORITY, ("accept", "x"), PATH],
        vec![METHOD, SCHEME, ("host", "web.example"), PATH, AUTHORITY],
        vec![METHOD, METHOD, SCHEME, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY, PATH, PATH],
        // Two hosts.
        vec![METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")],
        vec![METHOD, SCHEME, PATH, ("host", "a"), ("host", "a")],
        vec![METHOD, SCHEME, PATH, ("host", "a@b")],
    ]);
    heads
}
