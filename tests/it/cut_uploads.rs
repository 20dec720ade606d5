//! HTTP/2 uploads that the client gives up, and what an HTTP/1.1 backend sees of them.

use crate::support::{
    RecordingBackend, eventually,
    raw_http2::{Outcome, POST, RST_STREAM, RawHttp2, data, frame, headers},
    start_balancer,
};

const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// A stream that was reset was not whole, whatever the code says and however much came.
#[tokio::test]
async fn an_upload_that_is_reset_is_never_whole() {
    let mut cases = 0;
    for reason in [NO_ERROR, CANCEL] {
        for (length, body) in [
            (None, &b""[..]),
            (None, b"hello"),
            (Some("10"), b""),
            (Some("10"), b"hello"),
            // All that was announced, and no end of the stream.
            (Some("10"), b"helloworld"),
        ] {
            for waits in [true, false] {
                let backend = RecordingBackend::replying("fine").await;
                let app = start_balancer(&[backend.url()], "", "", "workers: 1\n");
                let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
                let mut fields = POST.to_vec();
                fields.extend(length.map(|length| ("content-length", length)));
                let begun = [headers(1, false, &fields), data(1, false, body)].concat();
                let reset = frame(RST_STREAM, 0, 1, &reason.to_be_bytes());
                if waits {
                    client.send(&begun).await;
                    let what = format!("it arrived: {length:?} {body:?}");
                    eventually(&what, async || {
                        let received = backend.received().concat();
                        // All that was announced waits for the end of the stream.
                        let part = if body.len() < 10 { body } else { b"" };
                        let text = String::from_utf8(received).unwrap();
                        text.contains("\r\n\r\n") && text.contains(str::from_utf8(part).unwrap())
                    })
                    .await;
                    client.send(&reset).await;
                } else {
                    client.send(&[begun, reset].concat()).await;
                }
                // Whatever was sent before has been looked at when this is answered.
                client
                    .send(&headers(3, true, &crate::support::raw_http2::GET))
                    .await;
                assert_eq!(client.outcome(3).await, Outcome::Status(200));
                app.until_metric("weir_calls_in_flight", 0).await;
                let (whole, _) = backend.seen();
                let methods: Vec<&str> = whole.iter().map(|seen| seen.method.as_str()).collect();
                assert_eq!(methods, ["GET"], "{reason} {length:?} {body:?} {waits}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 20);
}
