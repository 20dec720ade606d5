//! Settings of the whole process that a reload changes, and the two that it cannot.

use std::{fs, process::Command};

use bytes::Bytes;
use rustix::process::Signal;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::support::{
    GrpcClient, Process, RecordingBackend, VIDEO, eventually, grpc_request, http1, weir,
};

struct Setup {
    directory: tempfile::TempDir,
    process: Process,
    sections: String,
}

impl Setup {
    async fn start() -> (Self, RecordingBackend) {
        let backend = RecordingBackend::replying("fine").await;
        let url = backend.url();
        let sections = format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams: {{ app: {{ backends: [\"{url}\"] }} }}\nwatch: false\n"
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("weir.yaml");
        fs::write(&file, &sections).unwrap();
        let file = file.to_str().unwrap();
        let process = Process::start(&["--cdn-host=cdn.example", "--config", file]);
        let setup = Self {
            directory,
            process,
            sections,
        };
        (setup, backend)
    }

    /// Reloads with more sections.
    fn reload(&self, more: &str) {
        let file = self.directory.path().join("weir.yaml");
        fs::write(file, format!("{}{more}", self.sections)).unwrap();
        self.process.signal(Signal::HUP);
        self.process.until_logged("configuration reloaded");
    }

    async fn ask(&self, request: &str) -> (String, String) {
        http1(self.process.http.unwrap(), request).await
    }
}

const UNIMPLEMENTED: i32 = 12;
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn the_access_log_is_switched_on_and_off_and_moved() {
    let (setup, _backend) = Setup::start().await;
    let log = |name: &str| setup.directory.path().join(name);
    let lines = async |name: &str| {
        let text = fs::read_to_string(log(name)).unwrap_or_default();
        text.lines().count()
    };
    for name in ["a.log", "b.log"] {
        let file = log(name);
        setup.reload(&format!(
            "access_log: {{ format: json, file: {} }}\n",
            file.display()
        ));
        // Each worker learns of the log by itself.
        eventually(name, async || {
            setup.ask(GET).await;
            lines(name).await > 0
        })
        .await;
    }
    setup.reload("");
    eventually("the end of the log", async || {
        let before = lines("b.log").await;
        for _ in 0..10 {
            setup.ask(GET).await;
        }
        setup.process.signal(Signal::USR1);
        lines("b.log").await == before
    })
    .await;
}

#[tokio::test]
async fn limits_of_connections_hold_for_the_next_connection() {
    let (setup, _backend) = Setup::start().await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\nConnection: close\r\n\r\n",
        "x".repeat(20_000)
    );
    assert!(setup.ask(&long).await.0.starts_with("HTTP/1.1 200 "));
    setup.reload("connections: { max_header_size: 8KiB, first_byte_timeout: 100ms, limit: 3 }\n");
    assert!(setup.ask(&long).await.0.starts_with("HTTP/1.1 431 "));
    let mut silent = TcpStream::connect(setup.process.http.unwrap())
        .await
        .unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn reflection_is_switched_off() {
    let (setup, _backend) = Setup::start().await;
    let client = GrpcClient::connect(setup.process.redirect).await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let ask = async || {
        let answer = client
            .try_call(grpc_request(path), vec![Bytes::new()])
            .await;
        answer.unwrap().code()
    };
    assert_ne!(ask().await, UNIMPLEMENTED);
    setup.reload("redirect: { reflection: false }\n");
    assert_eq!(ask().await, UNIMPLEMENTED);
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_applied() {
    let (setup, _backend) = Setup::start().await;
    let file = setup.directory.path().join("weir.yaml");
    let more = "workers: 3\nredirect: { cdn_host: other.example }\n";
    fs::write(file, format!("{}{more}", setup.sections)).unwrap();
    setup.process.signal(Signal::HUP);
    let warning = setup
        .process
        .until_logged("these change at the next restart");
    assert_eq!(
        (&warning["keys"], &warning["level"]),
        (&"workers".into(), &"WARN".into())
    );
    setup.process.until_logged("configuration reloaded");
}

/// A container engine asks by `weir healthcheck` whether the process should be killed.
#[tokio::test]
async fn a_bad_file_makes_no_running_process_unready() {
    let (setup, _backend) = Setup::start().await;
    let file = setup.directory.path().join("weir.yaml");
    let admin = format!("--admin-listen={}", setup.process.admin);
    let config = format!("--config={}", file.display());
    let healthcheck = || {
        let run = weir()
            .args(["healthcheck", &admin, &config])
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    eventually("readiness", async || healthcheck().0 == Some(0)).await;
    for content in [Some("htp: ["), Some(""), Some("workers: none\n"), None] {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        setup.process.signal(Signal::HUP);
        setup.process.until_logged("reload refused");
        assert_eq!(healthcheck(), (Some(0), String::new()), "{content:?}");
    }
}

/// The file of a running process is replaced by something that no read of which ends.
#[tokio::test]
async fn a_file_that_cannot_be_read_holds_nothing_up() {
    let (setup, _backend) = Setup::start().await;
    let file = setup.directory.path().join("weir.yaml");
    fs::remove_file(&file).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    setup.process.signal(Signal::HUP);
    let refused = setup.process.until_logged("reload refused");
    let error = refused["error"].as_str().unwrap();
    assert!(
        error.ends_with("is not a regular file, and only those can be read again"),
        "{error}"
    );
    assert!(setup.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
    setup.process.signal(Signal::TERM);
    setup.process.until_logged("stopped: ");
}
