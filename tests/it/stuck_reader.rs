//! Standard output that nobody reads any more, as of a container whose log driver hangs.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::support::{KeptClient, Process, RecordingBackend};

#[tokio::test]
async fn a_full_pipe_stops_neither_requests_nor_the_stop() {
    let backend = RecordingBackend::replying("fine").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    let config = format!(
        "redirect: {{ cdn_host: cdn.example.com }}\nworkers: 2\n\
         drain: {{ lame_duck: 0s, quiet: 50ms, timeout: 5s }}\n\
         access_log: {{ format: json }}\n\
         http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app: {{ backends: [\"{}\"] }}\n",
        backend.url()
    );
    fs::write(&path, config).unwrap();
    let mut process = Process::start(&["serve", "--config", path.to_str().unwrap()]);
    process.stop_reading();
    let mut client = KeptClient::connect(process.http.unwrap()).await;
    // Some megabytes of lines: many times what the pipe and all queues before it hold.
    let target = format!("/{}", "x".repeat(4000));
    for _ in 0..1500 {
        assert_eq!(client.get(&target).await.body, "fine");
    }
    for _ in 0..3 {
        // Each is an event of the log, too.
        process.signal(Signal::HUP);
        assert_eq!(client.get("/").await.body, "fine");
    }
    drop(client);
    process.signal(Signal::TERM);
    let status = tokio::task::spawn_blocking(move || process.ends_within(Duration::from_secs(15)));
    let status = status.await.unwrap().expect("it never ends");
    assert!(status.success(), "{status}");
}
