//! A PostgreSQL server of a test's own, on a Unix socket, so that it needs no port.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::{Duration, sleep};
use weir::config::Database;

/// A running server. Ends when it is dropped.
pub struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    server: Child,
}

impl Postgres {
    /// Starts one; `None`, after saying so, on a machine without PostgreSQL.
    pub async fn start(test: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{test} needs PostgreSQL"
            );
            eprintln!("SKIPPED {test}: there is no PostgreSQL in /usr/lib/postgresql");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some((user, group)) = server_user() {
            for path in [directory.path(), &data] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let made = as_server_user(&programs.join("initdb"))
            .args([
                "--username=weir",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let server = run(&programs, directory.path());
        let postgres = Self {
            directory,
            programs,
            server,
        };
        postgres.until_up().await;
        Some(postgres)
    }

    /// Starts a server that follows this one.
    pub async fn replica(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if let Some((user, group)) = server_user() {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        let copied = as_server_user(&self.programs.join("pg_basebackup"))
            .args(["--write-recovery-conf", "--no-sync", "--checkpoint=fast"])
            .args(["--username=weir", "--host"])
            .arg(self.directory.path())
            .arg("-D")
            .arg(directory.path().join("data"))
            .status();
        assert!(copied.unwrap().success(), "pg_basebackup failed");
        let server = run(&self.programs, directory.path());
        let replica = Self {
            directory,
            programs: self.programs.clone(),
            server,
        };
        replica.until_up().await;
        replica
    }

    /// Makes a replica the primary.
    pub async fn promote(&self) {
        let promoted = sqlx::query_scalar("SELECT pg_promote()");
        let is_primary: bool = promoted.fetch_one(&mut self.connect().await).await.unwrap();
        assert!(is_primary);
    }

    /// Lets a user in by its password alone.
    pub async fn ask_for_password(&self, user: &str) {
        let file = self.directory.path().join("data/pg_hba.conf");
        let rules = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("local all {user} scram-sha-256\n{rules}")).unwrap();
        let reload = sqlx::query("SELECT pg_reload_conf()");
        reload.execute(&mut self.connect().await).await.unwrap();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The socket of its sessions.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }

    /// Ends at once, as in a crash.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        // Its children end when they notice, and hold the memory until then.
        let _absent = fs::remove_file(self.directory.path().join("data/postmaster.pid"));
    }

    /// Starts again with its data.
    pub async fn restart(&mut self) {
        self.server = run(&self.programs, self.directory.path());
        self.until_up().await;
    }

    pub fn database(&self) -> Database {
        Database::Postgres(self.url())
    }

    pub fn url(&self) -> String {
        let socket = self
            .directory
            .path()
            .display()
            .to_string()
            .replace('/', "%2F");
        format!("postgres://weir@localhost/postgres?host={socket}")
    }

    /// Where its socket is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A connection beside Weir's, as `psql` has.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    async fn until_up(&self) {
        for _ in 0..600 {
            if PgConnection::connect(&self.url()).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("PostgreSQL does not come up");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn run(programs: &Path, directory: &Path) -> Child {
    as_server_user(&programs.join("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-k")
        .arg(directory)
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "shared_buffers=16MB",
        ])
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("log")).unwrap())
        .spawn()
        .unwrap()
}

/// PostgreSQL refuses to run as root.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

pub fn server_user() -> Option<(u32, u32)> {
    user_beside_root("postgres")
}

/// A user and its group, where this process is root's.
pub fn user_beside_root(name: &str) -> Option<(u32, u32)> {
    let is_root = rustix::process::geteuid().is_root();
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let name = format!("{name}:");
    let entry = users.lines().find(|line| line.starts_with(&name))?;
    let mut ids = entry.split(':').skip(2).map(|id| id.parse().unwrap());
    is_root.then(|| (ids.next().unwrap(), ids.next().unwrap()))
}

/// Where the newest version's programs are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.map(|version| version.unwrap().path().join("bin"));
    programs
        .filter(|programs| programs.join("postgres").exists())
        .max()
}
