//! HTTP/2 frames that serve no purpose: some are fine, a flood is not.

use crate::support::{
    RecordingBackend,
    raw_http2::{GET, Outcome, PING, RawHttp2, SETTINGS, frame, headers},
    start_balancer,
};

const ACK: u8 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn floods() -> [(&'static str, Vec<u8>); 3] {
    [
        ("unsolicited PING ACKs", frame(PING, ACK, 0, &[0; 8])),
        ("PINGs", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
    ]
}

#[tokio::test]
async fn a_flood_ends_in_enhance_your_calm() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    for address in [app.http.unwrap(), app.redirect] {
        for (name, bytes) in floods() {
            let mut client = RawHttp2::connect(address, &[]).await;
            let mut sent = 0;
            while sent < 5_000 && client.send(&bytes.repeat(100)).await {
                sent += 100;
            }
            let code = client.goaway().await;
            assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name} after {sent}");
        }
    }
}

/// The limit holds while more comes, and though the client takes none of the answers.
#[tokio::test]
async fn a_client_that_floods_and_reads_nothing_is_cut_at_once() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    for (name, bytes) in floods() {
        let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
        let burst = bytes.repeat(100);
        let mut sent = 0;
        while sent < 1_000_000 && client.send(&burst).await {
            sent += 100;
        }
        let code = client.goaway().await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name} after {sent}");
    }
}

#[tokio::test]
async fn nine_hundred_at_once_are_no_flood() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    for (name, bytes) in floods() {
        let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
        client.send(&bytes.repeat(900)).await;
        client.send(&headers(1, true, &GET)).await;
        assert_eq!(client.outcome(1).await, Outcome::Status(200), "{name}");
    }
}
