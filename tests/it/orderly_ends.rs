//! How an HTTP/2 connection ends that the balancer told to leave.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    End, RecordingBackend,
    raw_http2::{GET, GOAWAY, PING, SETTINGS, frame, frames, headers},
    read_to_end, start_balancer,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a PING whenever a GOAWAY came, and reads to the end.
async fn ends(address: SocketAddr) -> (End, usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let ping = |flags| frame(PING, flags, 0, &[7; 8]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let start = [
        &preface[..],
        &frame(SETTINGS, 0, 0, &[]),
        &headers(1, true, &GET),
    ];
    stream.write_all(&start.concat()).await.unwrap();
    let (mut received, mut answered) = (Vec::new(), 0);
    let mut goaways = 0;
    loop {
        let read = timeout(PATIENCE, stream.read_buf(&mut received)).await;
        match read.expect("it never ends") {
            Err(_reset) => return (End::Reset, goaways),
            Ok(0) => return (End::Closed, goaways),
            Ok(_) => {}
        }
        let frames = frames(&received);
        for frame in &frames[answered..] {
            let answer = match frame.kind {
                GOAWAY => {
                    goaways += 1;
                    ping(0)
                }
                PING if frame.flags == 0 => {
                    crate::support::raw_http2::frame(PING, 1, 0, &frame.payload)
                }
                _ => continue,
            };
            if stream.write_all(&answer).await.is_err() {
                return (read_to_end(&mut stream, PATIENCE).await.end, goaways);
            }
        }
        answered = frames.len();
    }
}

#[tokio::test]
async fn a_ping_after_a_goaway_is_answered_by_no_reset() {
    const TRIES: usize = 50;
    let backend = RecordingBackend::replying("fine").await;
    let limits = "connections: { max_connection_age: 1s, max_connection_age_grace: 5s }\n";
    let app = start_balancer(&[backend.url()], "", "", limits);
    for address in [app.http.unwrap(), app.redirect] {
        let ends = join_all((0..TRIES).map(|_| ends(address))).await;
        let resets = ends.iter().filter(|(end, _)| *end == End::Reset).count();
        assert_eq!(resets, 0, "of {TRIES}");
        assert!(ends.iter().all(|(_, goaways)| *goaways > 0), "{ends:?}");
    }
}
