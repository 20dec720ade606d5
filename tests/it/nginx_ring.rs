//! The ring of consistent hashing is nginx's, so that a fleet can move from one to the other with warm
//! caches. Needs nginx; where there is none, the test says that it was skipped. In the gate there is.

use std::{
    env, fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use futures_util::future::join_all;

use crate::support::{Ask, Protocol, RecordingBackend, TestApp, ask, eventually};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: usize = 1_000;

/// An nginx that hashes the header X-Key over backends with weights.
struct Nginx {
    child: Child,
    socket: PathBuf,
}

impl Nginx {
    /// `None` where nginx is not installed.
    async fn start(directory: &Path, backends: &[(u16, u16)]) -> Option<Self> {
        let socket = directory.join("nginx.sock");
        let servers: String = backends
            .iter()
            .map(|(port, weight)| format!("server 127.0.0.1:{port} weight={weight};\n"))
            .collect();
        let at = directory.display();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\
             upstream app {{ hash $http_x_key consistent;\n{servers} }}\n\
             server {{ listen unix:{}; proxy_http_version 1.1; proxy_set_header Connection \"\"; location / {{ proxy_pass http://app; }} }}\n}}\n",
            socket.display()
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(directory.join("error.log"));
        let child = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{error}"),
        };
        let nginx = Self { child, socket };
        eventually("nginx listens", async || {
            UnixStream::connect(&nginx.socket).is_ok()
        })
        .await;
        Some(nginx)
    }

    /// The backend that answers a request with this key.
    fn ask(&self, key: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let request = format!("GET / HTTP/1.0\r\nX-Key: {key}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_goes_where_nginx_sends_it() {
    let backends = join_all(NAMES.map(RecordingBackend::replying)).await;
    let ports: Vec<u16> = backends.iter().map(|backend| backend.addr.port()).collect();
    for weights in [[1, 1, 1, 1], [2, 2, 2, 2], [10, 20, 30, 40], [1, 2, 3, 4]] {
        let directory = tempfile::tempdir().unwrap();
        let weighted: Vec<(u16, u16)> = ports.iter().copied().zip(weights).collect();
        let Some(nginx) = Nginx::start(directory.path(), &weighted).await else {
            assert!(
                env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "nginx is not installed"
            );
            eprintln!("skipped: nginx is not installed");
            return;
        };
        let members: Vec<String> = weighted
            .iter()
            .map(|(port, weight)| {
                format!("{{ url: \"http://127.0.0.1:{port}\", weight: {weight} }}")
            })
            .collect();
        let app = TestApp::start(
            "",
            &format!(
                "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ upstream: app }}]\nupstreams:\n  app:\n    \
                 balance: consistent_hash\n    hash_by: header:x-key\n    backends: [{}]\n",
                members.join(", ")
            ),
        );
        for index in 0..KEYS {
            let key = format!("film-{index}");
            let asked = Ask::get("/").header("x-key", key.clone());
            let answer = ask(Protocol::Http1, app.http.unwrap(), &asked).await;
            let body = String::from_utf8(answer.body).unwrap();
            let expected = tokio::task::block_in_place(|| nginx.ask(&key));
            assert_eq!(body, expected, "{key} with weights {weights:?}");
        }
    }
}
