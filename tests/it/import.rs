//! `weir import`: what comes of whole files of HAProxy and nginx, and that it runs.

use std::{
    env, fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use weir::import::{Dialect, import};

use crate::support::{Process, RecordingBackend, http1, weir};

const FILES: [&str; 3] = ["haproxy.cfg", "nginx.conf", "nginx-stream.conf"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import")
}

/// Runs a command of Weir's in the folder of the files, with this on its standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = weir();
    command.args(arguments).current_dir(folder());
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _closed_early = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Each file stands beside the Weir file and the remarks that it gives. `UPDATE_EXPECTED=1` writes them
/// anew, for the eyes of a reviewer.
#[test]
fn files_become_what_is_written_beside_them() {
    for name in FILES {
        let output = run(&["import", name], "");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        for (suffix, found) in [("yaml", &output.stdout), ("remarks", &output.stderr)] {
            let file = folder().join(format!("{name}.{suffix}"));
            if env::var_os("UPDATE_EXPECTED").is_some() {
                fs::write(&file, found).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap();
            assert_eq!(text(found), expected, "{}", file.display());
        }
        let check = run(&["check", "-"], &text(&output.stdout));
        let complaints = text(&check.stderr);
        assert!(
            check.status.success() && complaints.is_empty(),
            "{name}: {complaints}"
        );
    }
}

/// What the program says of a file; `None` where it is not installed.
fn judged_by(command: &mut Command) -> Option<Output> {
    match command.current_dir(folder()).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let program = command.get_program().to_string_lossy();
            assert!(
                env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{program} is not installed"
            );
            eprintln!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_files_are_what_their_programs_read() {
    let directory = tempfile::tempdir().unwrap();
    let pid = format!("pid {}/pid;", directory.path().display());
    for name in FILES {
        let mut command = match name {
            "haproxy.cfg" => Command::new("haproxy"),
            _ => Command::new("nginx"),
        };
        match name {
            "haproxy.cfg" => command.args(["-c", "-f", name]),
            _ => command
                .args(["-t", "-e", "stderr", "-g", &pid, "-c"])
                .arg(folder().join(name)),
        };
        if let Some(output) = judged_by(&mut command) {
            assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        }
    }
}

#[test]
fn exit_codes_tell_whether_there_is_a_file() {
    let exact = "defaults\n mode tcp\n timeout connect 5s\n timeout server 50s\n timeout client 50s\n\
                 listen a\n bind :5433\n server s 10.0.0.1:5432 check\n";
    let inexact = format!("{exact} fullconn 10\n");
    for (arguments, input, code, begins) in [
        (&["import", "-"][..], exact, 0, ""),
        (&["import", "-", "--strict"], exact, 0, ""),
        (
            &["import", "-"],
            &inexact,
            0,
            "standard input:9: fullconn 10: left out, ",
        ),
        (
            &["import", "--strict", "-"],
            &inexact,
            1,
            "standard input:9: fullconn 10: left out, ",
        ),
        (
            &["import", "-"],
            "server {\n listen 80;\n",
            1,
            "error: standard input:1: the block of \"server\" has no }",
        ),
        (
            &["import", "-", "--from", "nginx"],
            exact,
            1,
            "error: standard input:1: ",
        ),
        (
            &["import", "-"],
            "what is this",
            1,
            "error: standard input: this looks neither like",
        ),
        (
            &["import", "-"],
            "global\n daemon\n",
            1,
            "standard input:2: daemon: not needed, ",
        ),
        (
            &["import", "no-such-file"],
            "",
            1,
            "error: cannot read no-such-file: ",
        ),
        (
            &["import"],
            "",
            1,
            "error: the following required arguments",
        ),
    ] {
        let output = run(arguments, input);
        let complaints = text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?} {complaints}"
        );
        assert!(complaints.starts_with(begins), "{arguments:?} {complaints}");
        assert_eq!(
            output.stdout.is_empty(),
            !complaints.is_empty() && complaints.contains("error: "),
            "{complaints}"
        );
    }
}

/// Runs what an import gives, on a port that the system chooses instead of this one.
fn start(source: &str, dialect: Dialect, port: u16) -> (Process, TempDir) {
    let imported = import("source", source, Some(dialect)).unwrap();
    let listen = format!("127.0.0.1:{port}");
    assert!(imported.yaml.contains(&listen), "{}", imported.yaml);
    let mut yaml = imported.yaml.replace(&listen, "127.0.0.1:0");
    // `Process` finds the listeners in a line that names this service, too.
    yaml.push_str("\nredirect: { cdn_host: cdn.example.com }\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    fs::write(&file, yaml).unwrap();
    (
        Process::start(&["--config", file.to_str().unwrap()]),
        directory,
    )
}

async fn body_of(process: &Process, path: &str, host: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let (_head, body) = http1(process.http.unwrap(), &request).await;
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_nginx_would_send_them() {
    let app = RecordingBackend::replying("app").await;
    let api = RecordingBackend::replying("api").await;
    let source = format!(
        "http {{ upstream app {{ server {}; }}\n\
         server {{ listen 127.0.0.1:8999; location / {{ proxy_pass http://app; }} location /v1/ {{ proxy_pass http://{}/; }} }}\n\
         server {{ listen 127.0.0.1:8999; server_name api.example.com; location / {{ proxy_pass http://{}; }} }} }}",
        app.addr, api.addr, api.addr
    );
    let (process, _directory) = start(&source, Dialect::Nginx, 8999);
    for (path, host, expected) in [
        ("/", "any.example.com", "app"),
        ("/v1/films", "any.example.com", "api"),
        ("/v1", "any.example.com", "app"),
        ("/films", "api.example.com", "api"),
    ] {
        assert_eq!(
            body_of(&process, path, host).await,
            expected,
            "{host}{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_haproxy_would_send_them() {
    let app = RecordingBackend::replying("app").await;
    let api = RecordingBackend::replying("api").await;
    let source = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout server 5s\n timeout client 5s\n\
         frontend f\n bind 127.0.0.1:8999\n acl v1 path_beg /v1/\n use_backend api if v1\n use_backend app if {{ hdr(host) app.example.com }}\n\
         default_backend api\nbackend app\n server s {} check\nbackend api\n server s {} check\n",
        app.addr, api.addr
    );
    let (process, _directory) = start(&source, Dialect::Haproxy, 8999);
    for (path, host, expected) in [
        ("/", "app.example.com", "app"),
        ("/v1/films", "app.example.com", "api"),
        ("/", "any.example.com", "api"),
    ] {
        assert_eq!(
            body_of(&process, path, host).await,
            expected,
            "{host}{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_where_haproxy_would_send_them() {
    let backend = RecordingBackend::replying("here").await;
    let source = format!(
        "listen db\n bind 127.0.0.1:8999\n server s {} check\n",
        backend.addr
    );
    let (process, _directory) = start(&source, Dialect::Haproxy, 8999);
    let mut session = TcpStream::connect(process.tcp.unwrap()).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    session.write_all(request).await.unwrap();
    let mut answer = vec![0; 8];
    session.read_exact(&mut answer).await.unwrap();
    assert_eq!(text(&answer), "HTTP/1.1");
}
