//! PgBouncer before a PostgreSQL server of a test's own, on a Unix socket.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    process::{Child, Command, Stdio},
};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::{Duration, sleep};

use crate::support::{Postgres, postgres::server_user};

/// A running pooler. Ends when it is dropped.
pub struct PgBouncer {
    directory: TempDir,
    pooler: Child,
}

impl PgBouncer {
    /// Starts one in a mode, `session` or `transaction`; `None`, after saying so, on a machine without
    /// PgBouncer.
    pub async fn start(postgres: &Postgres, mode: &str, test: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let configuration = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {path}\nauth_type = trust\nauth_file = {path}/users\npool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n",
            postgres.directory().display()
        );
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, configuration).unwrap();
        fs::write(directory.path().join("users"), "\"weir\" \"\"\n").unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        if let Some((user, group)) = server_user() {
            chown(directory.path(), Some(user), Some(group)).unwrap();
            command.uid(user).gid(group);
        }
        let spawned = command
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(pooler) = spawned else {
            assert!(
                std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{test} needs PgBouncer"
            );
            eprintln!("SKIPPED {test}: there is no /usr/sbin/pgbouncer");
            return None;
        };
        let pgbouncer = Self { directory, pooler };
        pgbouncer.until_up().await;
        Some(pgbouncer)
    }

    pub fn url(&self) -> String {
        let path = self.directory.path().display().to_string();
        let socket = path.replace('/', "%2F");
        format!("postgres://weir@localhost:6432/postgres?host={socket}")
    }

    async fn until_up(&self) {
        for _ in 0..600 {
            if PgConnection::connect(&self.url()).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("PgBouncer does not come up");
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ended = self.pooler.kill();
        let _ended = self.pooler.wait();
    }
}
