//! `weir clients` and `weir explain` against a running process.

use std::{path::Path, process::Output};

use crate::support::{Process, VIDEO, eventually, weir};

fn run(process: &Process, token: Option<&str>, arguments: &[&str]) -> (Output, String) {
    let mut command = weir();
    command.args(arguments);
    command.args(["--admin-listen", &process.admin.to_string()]);
    if let Some(token) = token {
        command.env("WEIR_ADMIN_TOKEN", token);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8([&*output.stdout, &*output.stderr].concat()).unwrap();
    (output, text)
}

const TOKEN: &str = "0123456789abcdef";

/// A process with a database and a token.
async fn start(directory: &Path) -> Process {
    let token_file = directory.join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let mut command = weir();
    let url = format!("sqlite://{}", directory.join("weir.db").display());
    command
        .env("DATABASE_URL", url)
        .env("WEIR_ADMIN_TOKEN_FILE", &token_file);
    command.arg("--cdn-host=cdn.example");
    let process = Process::spawn(command);
    let is_ready = async || run(&process, None, &["healthcheck"]).0.status.success();
    eventually("it is ready", is_ready).await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_set_listed_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(directory.path()).await;
    let set = [
        "clients",
        "set",
        "studio",
        "--capacity",
        "7",
        "--rate-per-sec",
        "0.5",
    ];
    let (output, text) = run(&process, None, &set);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("Authorization: Bearer"), "{text}");
    let (output, text) = run(&process, Some(TOKEN), &set);
    assert!(output.status.success(), "{text}");
    assert!(
        text.starts_with("studio: 7 at once, 0.5 a second; keys "),
        "{text}"
    );
    assert!(text.contains("not shown again: weir_"), "{text}");
    let office = [
        "clients",
        "set",
        "10.0.0.0/8",
        "--capacity=9",
        "--rate-per-sec=1",
        "--network=192.0.2.1",
    ];
    let (_, text) = run(&process, Some(TOKEN), &office);
    assert_eq!(
        text,
        "10.0.0.0/8: 9 at once, 1 a second; networks 192.0.2.1/32\n"
    );
    // A change keeps the key, and shows none.
    let (_, text) = run(
        &process,
        Some(TOKEN),
        &[
            "clients",
            "set",
            "studio",
            "--capacity=8",
            "--rate-per-sec=1",
        ],
    );
    assert!(
        text.starts_with("studio: 8 at once") && text.lines().count() == 1,
        "{text}"
    );
    let (_, text) = run(&process, None, &["clients", "list"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("10.0.0.0/8: 9"),
        "{text}"
    );
    let (_, text) = run(&process, Some(TOKEN), &["clients", "delete", "studio"]);
    assert_eq!(text, "studio is removed\n");
    let (output, text) = run(&process, Some(TOKEN), &["clients", "delete", "studio"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("error: there is no client \"studio\""),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_explained() {
    let process = Process::start(&["--cdn-host=cdn.example"]);
    let (output, text) = run(&process, None, &["explain", "--video", VIDEO]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("takes turn 1\n"), "{text}");
    assert!(
        text.ends_with("-> http://cdn.example/s1/video/123/xcg2djHckad.m3u8\n"),
        "{text}"
    );
    let (output, text) = run(&process, None, &["explain", "--path", "/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("there is no listener of the load balancer"),
        "{text}"
    );
}
