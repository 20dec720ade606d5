//! A Redis server of a test's own, on a Unix socket, so that it needs no port.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::{Duration, sleep};

/// A running server. Ends when it is dropped.
pub struct Redis {
    directory: TempDir,
    server: Child,
}

impl Redis {
    /// Starts one; `None`, after saying so, on a machine without Redis and Valkey. `REDIS_SERVER` names
    /// another program than the first of `redis-server` and `valkey-server`.
    pub async fn start(test: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let Some(server) = run(&directory) else {
            assert!(
                std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{test} needs Redis"
            );
            eprintln!("SKIPPED {test}: there is neither redis-server nor valkey-server");
            return None;
        };
        let redis = Self { directory, server };
        redis.connect().await;
        Some(redis)
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Ends at once, as in a crash, and forgets everything.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    pub async fn restart(&mut self) {
        self.server = run(&self.directory).unwrap();
        self.connect().await;
    }

    /// A connection beside Weir's.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        for _ in 0..600 {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                return connection;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("Redis does not come up");
    }

    /// Sends a command, whose answer does not matter.
    pub async fn run(&self, command: &str) {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        let mut connection = self.connect().await;
        let _answer: redis::Value = command.query_async(&mut connection).await.unwrap();
    }

    /// The names of all that it holds.
    pub async fn keys(&self) -> Vec<String> {
        let mut connection = self.connect().await;
        let mut keys: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut connection)
            .await
            .unwrap();
        keys.sort();
        keys
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn run(directory: &TempDir) -> Option<Child> {
    let named = std::env::var("REDIS_SERVER").ok();
    let programs = match &named {
        Some(program) => vec![program.as_str()],
        None => vec!["redis-server", "valkey-server"],
    };
    let start = |program: &str| {
        Command::new(program)
            .args(["--port", "0", "--save", "", "--unixsocket", "redis.sock"])
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
    };
    programs.into_iter().find_map(start)
}
