//! The schema's versions, and how a database comes from one to another.
//!
//! sqlx keeps the list of what was applied. The locks are our own: sqlx takes none for SQLite, and on
//! PostgreSQL one without a bound, which stays after a migration that failed.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use sqlx::{
    AnyConnection, Connection as _, Executor as _,
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    config::Database,
    store::{StoreError, connect, statement},
};

/// A version of the schema, in both dialects, and how to leave it.
struct Version {
    number: i64,
    name: &'static str,
    sqlite: [&'static str; 2],
    postgres: [&'static str; 2],
}

/// Which versions a database has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SchemaStatus {
    /// Each version that this program knows, and whether the database has it.
    pub known: Vec<(i64, &'static str, bool)>,
    /// Versions that a newer program has applied.
    pub newer: Vec<i64>,
}

/// Applies what is missing. Returns the numbers of the versions that were.
///
/// # Errors
///
/// When the database cannot be reached, another process migrates it for over ten seconds, or a
/// statement fails, which leaves the version before it.
pub async fn up(database: &Database) -> Result<Vec<i64>, StoreError> {
    let mut session = Session::begin(database).await?;
    let result = session.up().await;
    session.end().await;
    result
}

/// Takes the newest version away again, with what is in its tables. Returns its number.
///
/// # Errors
///
/// As [`up`].
pub async fn down(database: &Database) -> Result<Option<i64>, StoreError> {
    let mut session = Session::begin(database).await?;
    let result = session.down().await;
    session.end().await;
    result
}

/// Tells which versions a database has. Changes nothing.
///
/// # Errors
///
/// When the database cannot be reached.
pub async fn status(database: &Database) -> Result<SchemaStatus, StoreError> {
    let has_file = |path: &Path| path.exists();
    if let Database::Sqlite(path) = database
        && !has_file(path)
    {
        return Ok(SchemaStatus::of(&[]));
    }
    let mut connection = connect(database).await?;
    let applied = applied_to(&mut connection).await;
    let _closed = connection.close().await;
    Ok(SchemaStatus::of(&applied?))
}

/// A connection of its own that alone changes the schema, and the lock.
struct Session {
    connection: AnyConnection,
    migrator: Migrator,
    /// Released when it is closed.
    _lock: Option<File>,
}

impl Session {
    async fn begin(database: &Database) -> Result<Self, StoreError> {
        let lock = match database {
            Database::Sqlite(path) => Some(lock_beside(path).await?),
            Database::Postgres(_) => None,
        };
        let mut connection = connect(database).await?;
        if matches!(database, Database::Postgres(_)) {
            let limit = "SET statement_timeout = '5s'";
            sqlx::raw_sql(limit).execute(&mut connection).await?;
            lock_session(&mut connection).await?;
        }
        Ok(Self {
            connection,
            migrator: migrator(database),
            _lock: lock,
        })
    }

    async fn up(&mut self) -> Result<Vec<i64>, StoreError> {
        let before = applied(&mut self.connection).await?;
        self.migrator
            .run_direct(None, &mut self.connection, false)
            .await?;
        let after = applied(&mut self.connection).await?;
        Ok(after
            .into_iter()
            .filter(|version| !before.contains(version))
            .collect())
    }

    async fn down(&mut self) -> Result<Option<i64>, StoreError> {
        let applied = applied(&mut self.connection).await?;
        let Some(&newest) = applied.last() else {
            return Ok(None);
        };
        if !self.migrator.version_exists(newest) {
            return Err(StoreError::NewerSchema(newest));
        }
        self.migrator.undo(&mut self.connection, newest - 1).await?;
        Ok(Some(newest))
    }

    /// Closes the connection, and with it releases PostgreSQL's lock, whatever happened.
    async fn end(self) {
        let _closed = self.connection.close().await;
    }
}

impl SchemaStatus {
    fn of(applied: &[i64]) -> Self {
        let known = VERSIONS.iter().map(|version| {
            let is_applied = applied.contains(&version.number);
            (version.number, version.name, is_applied)
        });
        let is_newer = |version: &&i64| VERSIONS.iter().all(|known| known.number != **version);
        Self {
            known: known.collect(),
            newer: applied.iter().filter(is_newer).copied().collect(),
        }
    }
}

async fn applied_to(connection: &mut AnyConnection) -> Result<Vec<i64>, StoreError> {
    applied(&mut *connection.begin().await?).await
}

/// The versions that were applied, in their order; none where there is no list yet.
async fn applied(connection: &mut AnyConnection) -> Result<Vec<i64>, StoreError> {
    let table = match connection.backend_name() {
        "PostgreSQL" => {
            "SELECT count(*) FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = ANY(current_schemas(false))"
        }
        _ => "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
    };
    let tables: i64 = statement::scalar(table).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    let versions = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
    Ok(statement::scalar(versions).fetch_all(connection).await?)
}

fn migrator(database: &Database) -> Migrator {
    let migrations = VERSIONS.iter().flat_map(|version| {
        let [up, down] = match database {
            Database::Sqlite(_) => version.sqlite,
            Database::Postgres(_) => version.postgres,
        };
        [
            migration(version, MigrationType::ReversibleUp, up),
            migration(version, MigrationType::ReversibleDown, down),
        ]
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // A newer program's versions only add, as far as `min_reader` says.
    migrator.set_ignore_missing(true).set_locking(false);
    migrator
}

fn migration(version: &Version, kind: MigrationType, sql: &'static str) -> Migration {
    let sql = sqlx::SqlSafeStr::into_sql_str(sql);
    Migration::new(version.number, version.name.into(), kind, sql, false)
}

/// Waits for the lock of all that migrate an SQLite file: an own file beside it, so that the lock holds
/// before there is a database.
async fn lock_beside(path: &Path) -> Result<File, StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".migrate-lock");
    let path = path.with_file_name(name);
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = open.map_err(|source| StoreError::File {
        path: path.clone(),
        source,
    })?;
    let until = Instant::now() + LOCK_TIME_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(LOCK_TIME_MAX)),
            Err(TryLockError::Error(source)) => return Err(StoreError::File { path, source }),
        }
    }
}

/// Waits for PostgreSQL's advisory lock of all that migrate.
async fn lock_session(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let seconds = LOCK_TIME_MAX.as_secs();
    let bound = format!("SET lock_timeout = '{seconds}s'");
    connection.execute(sqlx::AssertSqlSafe(bound)).await?;
    let lock = format!("SELECT pg_advisory_lock({LOCK_KEY})");
    match connection.execute(sqlx::AssertSqlSafe(lock)).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {
            Err(StoreError::Locked(LOCK_TIME_MAX))
        }
        Err(error) => Err(error.into()),
    }
}

/// Every version, from the first.
const VERSIONS: &[Version] = &[Version {
    number: 1,
    name: "clients",
    sqlite: [
        include_str!("sqlite/0001_clients.up.sql"),
        include_str!("sqlite/0001_clients.down.sql"),
    ],
    postgres: [
        include_str!("postgres/0001_clients.up.sql"),
        include_str!("postgres/0001_clients.down.sql"),
    ],
}];
/// The newest version that this program knows.
pub(super) const NEWEST: i64 = 1;
const LOCK_TIME_MAX: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// "weir" in ASCII.
const LOCK_KEY: i64 = 0x7765_6972;
