//! `weir top`, against a running process.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use crate::support::{Process, weir};

fn process() -> (tempfile::TempDir, Process) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let yaml = "redirect: { cdn_host: cdn.example.com }\nhttp: [{ listen: 127.0.0.1:0, routes: [{ upstream: app }] }]\n\
        upstreams:\n  app: { backends: [http://127.0.0.1:1, { url: http://127.0.0.2:1, backup: true }] }\n";
    std::fs::write(&file, yaml).unwrap();
    let process = Process::start(&["--config", file.to_str().unwrap()]);
    (directory, process)
}

#[test]
fn one_screen_is_printed_where_there_is_no_terminal() {
    let (_directory, process) = process();
    let listen = format!("--admin-listen={}", process.admin);
    let output = weir().args(["top", &listen]).output().unwrap();
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{screen}");
    for part in [
        "Weir 0.1.0",
        "redirect 0/s  origin –",
        "  127.0.0.1:1",
        "  127.0.0.2:1 (backup)",
        "unhealthy",
        "0 of 2 up",
    ] {
        assert!(screen.contains(part), "{part} is not in\n{screen}");
    }
    assert!(!screen.contains("q ends"));
}

/// In a terminal it goes on until it is told to end, and leaves the terminal as it was.
#[test]
fn a_key_ends_it_in_a_terminal() {
    let (_directory, process) = process();
    // script(1) gives it a terminal.
    let command = format!(
        "{} top --admin-listen={}",
        env!("CARGO_BIN_EXE_weir"),
        process.admin
    );
    let child = Command::new("timeout")
        .args(["60", "script", "--quiet", "--return", "--command"])
        .arg(format!("stty cols 160 rows 40; {command}"))
        .arg("/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("q ends") {
        let read = output.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..read]);
    }
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(b"\x1b[Bq").unwrap();
    output.read_to_end(&mut seen).unwrap();
    assert!(child.wait().unwrap().success());
    let seen = String::from_utf8_lossy(&seen);
    assert!(
        seen.contains("127.0.0.2:1") && seen.ends_with("\x1b[?25h"),
        "{seen}"
    );
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let output = weir()
        .args(["top", "--admin-listen=127.0.0.1:1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot connect"), "{error}");
}
