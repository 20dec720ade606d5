//! With pipes in memory, and time that passes only where all wait.

use std::{io, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::Instant,
};

use super::*;
use crate::{data::testing::services, net::Transport};

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: IdleLimits = IdleLimits {
    client: Duration::from_secs(60),
    backend: Duration::from_secs(20),
    half_open: Duration::from_secs(5),
};

/// What a relay came to, once `meanwhile` has played both peers, and how long it took.
async fn relayed<F: Future>(
    unread: &str,
    meanwhile: impl FnOnce(DuplexStream, DuplexStream) -> F,
) -> (io::Result<()>, Rc<Flow>, Duration) {
    let services = services("redirect: { cdn_host: cdn, listen: \"127.0.0.1:1\" }");
    let began = Instant::now();
    let (client, client_peer) = duplex(64);
    let (backend, backend_peer) = duplex(64);
    let flow = Rc::new(Flow::new(0, began));
    let end =
        |pipe, unread: &str, side| End::new(Transport::Memory(pipe), unread.into(), side, &flow);
    let carrying = async {
        let mut client = end(client, unread, Side::Client);
        let mut backend = end(backend, "", Side::Backend);
        carry(services.worker(), &mut client, &mut backend, &flow, LIMITS).await
    };
    let (carried, _peers) = tokio::join!(carrying, meanwhile(client_peer, backend_peer));
    (carried, flow, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn bytes_and_ends_pass_both_ways() {
    let (carried, flow, _) = relayed("un", async |mut client, mut backend| {
        client.write_all(b"read, and more than fits").await.unwrap();
        client.shutdown().await.unwrap();
        let mut request = String::new();
        backend.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "unread, and more than fits");
        backend.write_all(b"the answer").await.unwrap();
        drop(backend);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "the answer");
    })
    .await;
    carried.unwrap();
    assert_eq!((flow.received(), flow.sent()), (26, 10));
    assert_eq!(flow.broken(), None);
}

/// The side with the shorter time decides, from its own last movement on.
#[tokio::test(start_paused = true)]
async fn a_silent_relay_ends_in_time() {
    let (carried, flow, took) = relayed("", async |mut client, mut backend| {
        tokio::time::sleep(15 * SECOND).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(backend.read_u8().await.unwrap(), b'x');
        (client, backend)
    })
    .await;
    assert_eq!(carried.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!((took, flow.broken()), (35 * SECOND, None));
}

/// A client that takes nothing stands still, while the backend would send on.
#[tokio::test(start_paused = true)]
async fn a_side_that_takes_nothing_stands_still() {
    let (carried, _, took) = relayed("", async |client, mut backend| {
        let _pushed_back = tokio::time::timeout(90 * SECOND, backend.write_all(&[0; 999])).await;
        client
    })
    .await;
    assert_eq!(carried.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(took <= 20 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_relay_ends_sooner() {
    let (carried, _, took) = relayed("", async |mut client, mut backend| {
        client.shutdown().await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(4 * SECOND).await;
            backend.write_all(b"x").await.unwrap();
            client.read_u8().await.unwrap();
        }
        (client, backend)
    })
    .await;
    assert_eq!(carried.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(took, 17 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_side_that_broke_is_known() {
    for side in [Side::Client, Side::Backend] {
        let (carried, flow, _) = relayed("", async |mut client, mut backend| match side {
            Side::Client => {
                drop(client);
                backend.write_all(b"lost").await.unwrap();
                // Long enough that it is noticed before the other side ends.
                tokio::time::sleep(SECOND).await;
            }
            Side::Backend => {
                drop(backend);
                client.write_all(b"lost").await.unwrap();
                tokio::time::sleep(SECOND).await;
            }
        })
        .await;
        assert!(carried.is_err());
        assert_eq!(flow.broken(), Some(side));
    }
}
