//! HTTP/2 backends that break off a response in ways that look like a good end.

use crate::support::{
    Ask, Protocol, RecordingBackend, Wire, ask,
    raw_http2::{self, END_HEADERS, GOAWAY, HEADERS, RST_STREAM, SETTINGS, data, frame, frames},
    start_balancer,
};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const BROKEN: &str = "weir_http_faults_total{cause=\"response_broken\"}";

#[derive(Clone, Copy, Debug)]
enum Cut {
    Reset(u32),
    /// A GOAWAY that covers the stream, and the end of the connection.
    GoAway,
}

/// Answers each request by a head and a body, and cuts it.
async fn cutting(mut wire: Wire, length: Option<&'static str>, body: &'static [u8], cut: Cut) {
    wire.send(frame(SETTINGS, 0, 0, &[])).await;
    let (mut received, mut answered) = (Vec::new(), 0);
    while let Some(bytes) = wire.bytes().await {
        received.extend(bytes);
        let heads = frames(&received).into_iter();
        for head in heads.filter(|frame| frame.kind == HEADERS).skip(answered) {
            answered += 1;
            let mut fields = vec![(":status", "200")];
            fields.extend(length.map(|length| ("content-length", length)));
            let block = raw_http2::block(&fields);
            let mut answer = frame(HEADERS, END_HEADERS, head.stream, &block);
            if !body.is_empty() {
                answer.extend(data(head.stream, false, body));
            }
            answer.extend(match cut {
                Cut::Reset(reason) => frame(RST_STREAM, 0, head.stream, &reason.to_be_bytes()),
                Cut::GoAway => {
                    let last = [head.stream.to_be_bytes(), [0; 4]].concat();
                    frame(GOAWAY, 0, 0, &last)
                }
            });
            wire.send(answer).await;
            if matches!(cut, Cut::GoAway) {
                wire.end_sending().await;
                return wire.until_closed().await;
            }
        }
    }
}

#[tokio::test]
async fn a_cut_response_never_looks_whole() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for cut in [Cut::Reset(0), Cut::Reset(8), Cut::GoAway] {
        for (length, body) in [
            (None, &b""[..]),
            (None, b"hello"),
            (Some("10"), b""),
            (Some("10"), b"hello"),
            (Some("10"), b"helloworld"),
        ] {
            for client in CLIENTS {
                let backend =
                    RecordingBackend::scripted(move |wire| cutting(wire, length, body, cut));
                let backend = backend.await;
                let url = format!("h2c://{}", backend.addr);
                let app = start_balancer(&[url], "", "", "workers: 1\n");
                let answer = ask(client, app.http.unwrap(), &Ask::get("/")).await;
                app.until_metric("weir_calls_in_flight", 0).await;
                let broken = app.metric(BROKEN).await;
                let looks_whole = answer.status == 200 && answer.is_whole;
                if looks_whole || broken != 1 {
                    wrong.push(format!(
                        "{cut:?} {length:?} {body:?} {client:?}: {broken} broken, {answer:?}"
                    ));
                }
                cases += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}: {wrong:#?}", wrong.len());
    assert_eq!(cases, 30);
}
