//! A reload may move the redirect's listener.

use std::{fs, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::support::{GrpcClient, TestApp, VIDEO, eventually};

const OK: &str = "weir_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "weir_config_reloads_total{result=\"refused\"}";

fn config(listen: SocketAddr) -> String {
    format!(
        "redirect: {{ listen: \"{listen}\", cdn_host: cdn.example.com, origin_every: 3 }}\n\
         admin: {{ listen: 127.0.0.1:0 }}\nworkers: 2\n\
         drain: {{ lame_duck: 0s, quiet: 50ms, timeout: 10s }}\n"
    )
}

/// A port that was free a moment ago.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_reload_opens_the_new_address_and_closes_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    fs::write(&file, config(any)).unwrap();
    let app = TestApp::watching(directory, file.clone(), || ());
    let old = app.redirect;
    let kept = GrpcClient::connect(old).await;
    assert_ne!(kept.redirect(VIDEO).await.address(), VIDEO);
    // An address that is taken is no reason to leave the old one.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    fs::write(&file, config(taken.local_addr().unwrap())).unwrap();
    app.reload().await;
    eventually("it is refused", async || app.metric(REFUSED).await > 0).await;
    assert_ne!(kept.redirect(VIDEO).await.address(), VIDEO);

    let new = free_address().await;
    fs::write(&file, config(new)).unwrap();
    app.reload().await;
    eventually("it is loaded", async || app.metric(OK).await > 0).await;
    // The turns go on where they were.
    let client = GrpcClient::connect(new).await;
    assert_eq!(client.redirect(VIDEO).await.address(), VIDEO);
    eventually("the old one is closed", async || {
        TcpStream::connect(old).await.is_err()
    })
    .await;
    // And back, to a port that the system chooses.
    fs::write(&file, config(any)).unwrap();
    app.reload().await;
    eventually("it is closed", async || {
        TcpStream::connect(new).await.is_err()
    })
    .await;
}
