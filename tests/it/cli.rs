//! The command line: what it prints and how it ends.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Output,
};

use clap::Parser as _;
use rustix::process::Signal;
use weir::cli::Cli;

use crate::support::{GrpcClient, Process, VIDEO, http1, weir};

fn run(arguments: &[&str]) -> Output {
    weir().args(arguments).output().unwrap()
}

#[track_caller]
fn check_ends(arguments: &[&str], code: i32, stderr_begins: &str) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with(stderr_begins), "{stderr}");
    assert!(
        !stderr.contains("panicked") && !stderr.contains("backtrace"),
        "{stderr}"
    );
}

#[test]
fn nothing_configured_is_one_clear_line() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("error: no service is configured: set CDN_HOST"),
        "{stderr}"
    );
}

#[test]
fn check_shows_the_place_of_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let path = file.to_str().unwrap();
    fs::write(&file, "redirect:\n  cdn_host: cdn.example.com\n").unwrap();
    check_ends(&["check", "--config", path], 0, "");
    fs::write(&file, "redirect:\n  cdn_hst: cdn.example.com\nworkers: 0\n").unwrap();
    let output = run(&["check", "-c", path]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "did you mean `cdn_host`?",
        &format!("{path}:2:3"),
        "2 |   cdn_hst: cdn.example.com",
        &format!("{path}:3:10"),
    ] {
        assert!(
            stderr.contains(expected),
            "{expected} is missing in\n{stderr}"
        );
    }
}

#[test]
fn an_address_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let listen = format!("--redirect-listen={addr}");
    check_ends(
        &["--cdn-host=cdn", &listen, "--admin-listen=127.0.0.1:0"],
        1,
        &format!("error: cannot listen on {addr} for the redirect service: "),
    );
}

#[test]
fn an_access_log_that_may_not_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    // Its directory is there, but nobody can create files in it.
    fs::write(
        &file,
        "redirect: { cdn_host: a }\naccess_log: { format: json, file: /proc/a.log }\n",
    )
    .unwrap();
    check_ends(
        &[
            "--config",
            file.to_str().unwrap(),
            "--redirect-listen=127.0.0.1:0",
        ],
        1,
        "error: cannot open the access log /proc/a.log: ",
    );
}

#[test]
fn bad_usage_ends_with_1() {
    check_ends(&["--no-such-flag"], 1, "error: unexpected argument");
    check_ends(&["no-such-command"], 1, "error: unrecognized subcommand");
    check_ends(&["--version"], 0, "");
    check_ends(&["--help"], 0, "");
}

#[test]
fn a_share_of_failures_is_from_0_to_1() {
    let parse = |share: &str| {
        let flag = format!("--fail-rate={share}");
        Cli::try_parse_from(["weir", "backend", &flag])
    };
    for share in ["2", "nan", "-0.1", "1.01", "half", ""] {
        let error = parse(share).unwrap_err().to_string();
        assert!(
            error.contains("must be a number from 0 to 1"),
            "{share}: {error}"
        );
    }
    for share in ["0", "1", "0.25"] {
        assert!(parse(share).is_ok(), "{share}");
    }
}

#[test]
fn healthcheck_follows_readiness() {
    let process = Process::start(&["--cdn-host=cdn"]);
    let admin = format!("--admin-listen={}", process.admin);
    check_ends(&["healthcheck", &admin], 0, "");
    process.signal(Signal::TERM);
    process.until_logged("stopping");
    check_ends(
        &["healthcheck", &admin],
        1,
        "error: not ready: it answers 503 Service Unavailable",
    );
}

#[tokio::test]
async fn sigterm_drains_and_the_last_line_tells_how_it_went() {
    let process = Process::start(&["--cdn-host=cdn.example.com"]);
    let client = GrpcClient::connect(process.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    drop(client);
    process.signal(Signal::TERM);
    let (status, last) = process.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!(last["message"], "stopped: in_flight=0 finished=0 cut=0");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let process = Process::start(&["--cdn-host=cdn.example.com"]);
    let client = GrpcClient::connect(process.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    process.signal(Signal::INT);
    process.until_logged("stopping");
    process.signal(Signal::INT);
    let (status, _) = process.ended();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn sighup_reloads_and_a_bad_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    fs::write(&file, "redirect: { cdn_host: one.example }\n").unwrap();
    let process = Process::start(&["--config", file.to_str().unwrap()]);
    let client = GrpcClient::connect(process.redirect).await;
    fs::write(&file, "redirect: { cdn_host: two.example }\n").unwrap();
    process.signal(Signal::HUP);
    process.until_logged("configuration reloaded");
    let two = "http://two.example/s1/video/123/xcg2djHckad.m3u8";
    assert_eq!(client.redirect(VIDEO).await.address(), two);
    fs::write(&file, "redirect: { cdn_hots: three.example }\n").unwrap();
    process.signal(Signal::HUP);
    // The watched file may also be read half written, which is refused and told for itself.
    while {
        let event = process.until_logged("reload refused");
        let errors = event["error"].as_str().unwrap();
        !errors.contains("did you mean `cdn_host`?")
    } {}
    assert_eq!(client.redirect(VIDEO).await.address(), two);
}

#[tokio::test]
async fn the_demo_needs_no_configuration() {
    let process = Process::start(&["demo", "--http-listen=127.0.0.1:0"]);
    let client = GrpcClient::connect(process.redirect).await;
    let cdn = "http://cdn.example.com/s1/video/123/xcg2djHckad.m3u8";
    let address = client.redirect(VIDEO).await.address();
    assert!(address == cdn || address == VIDEO, "{address}");
    let (head, body) = http1(
        process.admin,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        head.starts_with("HTTP/1.1 200") && body.contains("/metrics"),
        "{head}\n{body}"
    );
}

#[tokio::test]
async fn the_demo_takes_the_operators_cdn() {
    let mut command = weir();
    command
        .args(["demo", "--http-listen=127.0.0.1:0"])
        .env("CDN_HOST", "mine.example");
    let process = Process::spawn(command);
    let client = GrpcClient::connect(process.redirect).await;
    let address = client.redirect(VIDEO).await.address();
    assert!(
        address == VIDEO || address.starts_with("http://mine.example/s1/"),
        "{address}"
    );
}

/// What the kernel has accepted when listeners close is served: those clients are connected.
#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_not_lost_by_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    fs::write(
        &file,
        "drain: { lame_duck: 0s, quiet: 300ms, timeout: 10s }\n",
    )
    .unwrap();
    let process = Process::start(&[
        "--cdn-host=cdn",
        "--workers=1",
        "--config",
        file.to_str().unwrap(),
    ]);
    // Nobody accepts while the process stands still, so the kernel's queue fills.
    process.signal(Signal::STOP);
    let request = format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        let mut stream = std::net::TcpStream::connect(process.redirect).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        clients.push(stream);
    }
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    let mut answered = 0;
    for mut stream in clients {
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        answered += usize::from(answer.starts_with("HTTP/1.1 302"));
    }
    assert_eq!(answered, 1_000);
    let (status, last) = process.ended();
    assert_eq!(status.code(), Some(0));
    assert!(
        last["message"].as_str().unwrap().ends_with("cut=0"),
        "{last}"
    );
}

#[test]
fn check_says_what_it_read_and_what_would_run() {
    let yaml =
        "x-anchors: { anything: [goes] }\nport: ${PORT:-8080}\nbackends: [http://a, http://b]\n";
    let mut check = weir();
    check
        .args(["check", "--config=-"])
        .env("CDN_HOST", "cdn.example");
    let mut check = check
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(yaml.as_bytes())
        .unwrap();
    let output = check.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let begins = "configuration is valid\nread: -, CDN_HOST, PORT\n\n\
                  redirect 0.0.0.0:50051: to cdn.example, 1 call in 10 to the origin\nhttp 0.0.0.0:8080\n  \
                  */ -> backends\nupstream backends: checked by a TCP connect every 2s\n  \
                  a:80 weight 1\n  b:80 weight 1\nadmin 127.0.0.1:8404\n\nsettings (* default):\n  watch true*, port 8080\n";
    assert!(stdout.starts_with(begins), "{stdout}");
    for line in [
        "  redirect: cdn_host cdn.example, listen 0.0.0.0:50051*, ",
        "  drain: lame_duck 5s*, quiet 1s*, timeout 30s*\n",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
}

#[test]
fn check_tells_programs_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    fs::write(&file, "redirect: { cdn_host: cdn }\nworkers: 0\n").unwrap();
    let mut check = weir();
    check
        .args(["check", file.to_str().unwrap(), "--format=json"])
        .env("WEIR_WORKRES", "1");
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["is_valid"], false);
    let [fault, warning] = report["diagnostics"].as_array().unwrap().as_slice() else {
        panic!("{report:#}");
    };
    assert_eq!(
        (&fault["severity"], &fault["line"], &fault["column"]),
        (&"error".into(), &2.into(), &10.into())
    );
    assert_eq!(warning["severity"], "warning");
    let message = warning["message"].as_str().unwrap();
    assert!(
        message.contains("the nearest one is WEIR_WORKERS"),
        "{message}"
    );
    fs::write(&file, "redirect: { cdn_host: cdn }\n").unwrap();
    let output = run(&["check", file.to_str().unwrap(), "--format=json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = report["settings"].as_array().unwrap();
    let every = settings
        .iter()
        .find(|setting| setting["key"] == "redirect.origin_every");
    assert_eq!(every.unwrap()["value"], "10");
    assert_eq!(every.unwrap()["is_default"], true);
}

#[test]
fn reload_and_stop_wait_for_the_running_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let path = file.to_str().unwrap();
    fs::write(&file, "redirect: { cdn_host: one.example }\nwatch: false\n").unwrap();
    let process = Process::start(&["--config", path]);
    let admin = format!("--admin-listen={}", process.admin);
    check_ends(&["reload", &admin], 0, "");
    fs::write(&file, "redirect: { cdn_hots: one.example }\nwatch: false\n").unwrap();
    let output = run(&["reload", &admin]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "error: reload refused, the old configuration keeps serving\nerror: unknown key `cdn_hots`";
    assert!(stderr.starts_with(expected), "{stderr}");
    check_ends(&["stop", &admin], 0, "");
    let (status, _) = process.ended();
    assert_eq!(status.code(), Some(0));
    for command in ["reload", "stop"] {
        let expected = "error: no running process at the admin address ";
        check_ends(&[command, &admin], 1, expected);
    }
}

#[test]
fn descriptions_are_printed() {
    for (arguments, expected) in [
        (
            &["config", "schema"][..],
            "\"$schema\": \"https://json-schema.org",
        ),
        (&["config", "reference"], "`upstreams.NAME.health_check`"),
        (&["completions", "bash"], "_weir()"),
        (&["completions", "fish"], "complete -c weir"),
        (&["man"], ".TH weir 1"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains(expected), "{arguments:?}: {stdout}");
    }
}

/// Events are JSON unless a terminal reads them, or the operator says otherwise.
#[test]
fn the_log_has_the_format_that_is_asked_for() {
    let first_line = |format: &str| {
        let mut command = weir();
        command
            .args([
                "--cdn-host=cdn",
                "--redirect-listen=127.0.0.1:0",
                "--admin-listen=127.0.0.1:0",
            ])
            .env("WEIR_LOG_FORMAT", format)
            .stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    };
    assert!(first_line("json").starts_with("{\"timestamp\":"));
    let text = first_line("text");
    let time = text.get(..8).unwrap();
    assert!(
        time.bytes()
            .all(|byte| byte == b':' || byte.is_ascii_digit()),
        "{text}"
    );
    assert!(text.contains("INFO serving"), "{text}");
    let mut wrong = weir();
    let wrong = wrong
        .args(["check", "--cdn-host=cdn"])
        .env("WEIR_LOG_FORMAT", "xml");
    let stderr = String::from_utf8(wrong.output().unwrap().stderr).unwrap();
    assert_eq!(
        stderr,
        "error: WEIR_LOG_FORMAT: \"xml\" must be auto, text or json\n"
    );
}

/// Another program must not choose which process gets a signal.
#[test]
fn a_stop_of_what_is_no_weir_sends_no_signal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("--admin-listen={}", listener.local_addr().unwrap());
    let namespace = weir::state::Status::of_this_process(std::time::Duration::ZERO)
        .pid_namespace
        .unwrap();
    // This test itself, which would end.
    let pid = std::process::id();
    let status = format!(
        "{{\"version\":\"1\",\"pid\":{pid},\"pid_namespace\":{namespace:?},\"is_stopping\":false,\"stop_seconds_max\":1,\"reloads\":0,\"reloads_refused\":0,\"reload_error\":null}}"
    );
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _read = stream.read(&mut head).unwrap();
        let length = status.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{status}"
        )
        .unwrap();
    });
    check_ends(
        &["stop", &admin],
        1,
        "error: what answers at the admin address",
    );
    server.join().unwrap();
}

/// With a mistyped file, the default address may be another process's.
#[test]
fn a_stop_by_a_file_that_cannot_be_read_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let path = file.to_str().unwrap();
    for command in ["stop", "reload"] {
        let _gone = fs::remove_file(&file);
        check_ends(
            &[command, "-c", path],
            1,
            "error: cannot read configuration file",
        );
        fs::write(&file, "admin: { listen: \"${ADM}\" }\n").unwrap();
        check_ends(
            &[command, "-c", path],
            1,
            "error: the variable ADM is not set",
        );
        fs::write(&file, "admn: { listen: 127.0.0.1:1 }\n").unwrap();
        check_ends(&[command, "-c", path], 1, "error: unknown key `admn`");
        // What else is wrong does not matter.
        fs::write(&file, "typo: 1\nadmin: { listen: 127.0.0.1:1 }\n").unwrap();
        let expected = "error: no running process at the admin address 127.0.0.1:1: ";
        check_ends(&[command, "-c", path], 1, expected);
    }
}
