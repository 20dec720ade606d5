//! The configuration file reloads itself, however it is replaced.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{MoodyBackend, SteadyClient, TestApp, eventually, yaml};

const OK: &str = "weir_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "weir_config_reloads_total{result=\"refused\"}";

fn config(backend: &MoodyBackend) -> String {
    let sections = format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app: {{ backends: [\"{}\"] }}\n",
        backend.url()
    );
    yaml("", &sections)
}

async fn two() -> [MoodyBackend; 2] {
    [
        MoodyBackend::start("old").await,
        MoodyBackend::start("new").await,
    ]
}

/// The watch begins before the admin listener answers.
async fn is_watching(app: &TestApp) {
    eventually("readiness", async || app.readiness().await == 200).await;
}

#[tokio::test]
async fn a_rewritten_or_renamed_file_is_loaded_and_a_bad_one_refused() {
    let [old, new] = two().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, config(&old)).unwrap();
    let app = TestApp::watching(directory, path.clone(), || ());
    is_watching(&app).await;
    let mut client = SteadyClient::new(app.http.unwrap());
    assert_eq!(client.body().await, "old");

    fs::write(&path, config(&new)).unwrap();
    app.until_metric(OK, 1).await;
    assert_eq!(client.body().await, "new");

    fs::write(&path, "http: [{ listen: nowhere }]").unwrap();
    app.until_metric(REFUSED, 1).await;
    assert_eq!(app.metric("weir_config_last_reload_successful").await, 0);
    assert_eq!(client.body().await, "new");

    // As editors do, and those who want no half-written file to be seen.
    let beside = path.with_extension("tmp");
    fs::write(&beside, config(&old)).unwrap();
    fs::rename(&beside, &path).unwrap();
    app.until_metric(OK, 2).await;
    assert_eq!(client.body().await, "old");
    assert_eq!(app.metric("weir_config_last_reload_successful").await, 1);
    assert_eq!(app.metric(REFUSED).await, 1);
}

/// A `ConfigMap` is mounted as `weir.yaml -> ..data/weir.yaml`, `..data -> ..<time>`; an update
/// makes a new directory and renames a new `..data` over the old one.
#[tokio::test]
async fn a_kubernetes_update_is_loaded() {
    let [old, new] = two().await;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    let mount = |version: &str, backend: &MoodyBackend| {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("weir.yaml"), config(backend)).unwrap();
        symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    mount("..first", &old);
    let path = root.join("weir.yaml");
    symlink(Path::new("..data/weir.yaml"), &path).unwrap();
    let app = TestApp::watching(directory, path, || ());
    is_watching(&app).await;
    let mut client = SteadyClient::new(app.http.unwrap());
    assert_eq!(client.body().await, "old");
    for (reloads, (version, backend, name)) in
        (1..).zip([("..second", &new, "new"), ("..third", &old, "old")])
    {
        mount(version, backend);
        app.until_metric(OK, reloads).await;
        assert_eq!(client.body().await, name);
    }
    assert_eq!(app.metric(REFUSED).await, 0);
}

/// What is on disk is what runs, however early it came there.
#[tokio::test]
async fn a_change_while_the_process_starts_is_not_missed() {
    let [old, new] = two().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, config(&old)).unwrap();
    let change = || fs::write(&path, config(&new)).unwrap();
    let app = TestApp::watching(directory, path.clone(), change);
    is_watching(&app).await;
    let began = Instant::now();
    while app.metric(OK).await == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "it is never loaded"
        );
        tokio::task::yield_now().await;
    }
    let mut client = SteadyClient::new(app.http.unwrap());
    assert_eq!(client.body().await, "new");
}
