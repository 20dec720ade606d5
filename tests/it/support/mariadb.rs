//! A MariaDB server of a test's own, on a Unix socket, so that it needs no port.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::time::{Duration, sleep};

/// A running server. Ends when it is dropped.
pub struct MariaDb {
    directory: TempDir,
    server: Child,
}

impl MariaDb {
    /// Starts one; `None`, after saying so, on a machine without MariaDB.
    pub async fn start(test: &str) -> Option<Self> {
        if !Path::new(SERVER).exists() {
            assert!(
                std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{test} needs MariaDB"
            );
            eprintln!("SKIPPED {test}: there is no {SERVER}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let user = server_user();
        if let Some((user, group)) = user {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        let data = format!("--datadir={}", directory.path().join("data").display());
        let made = as_user("mariadb-install-db", user)
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", &data])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "mariadb-install-db failed");
        let server = as_user(SERVER, user)
            .args([
                "--no-defaults",
                "--skip-networking",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .args(["--innodb-buffer-pool-size=8M", &data])
            .arg(format!("--socket={}", socket(&directory).display()))
            .arg(format!(
                "--pid-file={}",
                directory.path().join("pid").display()
            ))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = server.unwrap();
        let mariadb = Self { directory, server };
        mariadb.run("SELECT 1").await;
        Some(mariadb)
    }

    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// What the client prints for a statement, which it tries until the server is up.
    pub async fn run(&self, statement: &str) -> String {
        for _ in 0..600 {
            let output = Command::new("mariadb")
                .args([
                    "--no-defaults",
                    "--batch",
                    "--skip-column-names",
                    "--user=root",
                ])
                .arg(format!("--socket={}", self.socket().display()))
                .args(["--execute", statement])
                .output()
                .unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("MariaDB does not run {statement}");
    }

    /// Connections that ended before a login.
    pub async fn aborted(&self) -> u64 {
        let row = self.run("SHOW GLOBAL STATUS LIKE 'Aborted_connects'").await;
        row.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("sock")
}

fn as_user(program: &str, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

/// The server refuses to run as root.
fn server_user() -> Option<(u32, u32)> {
    super::postgres::user_beside_root("mysql")
}

const SERVER: &str = "/usr/sbin/mariadbd";
