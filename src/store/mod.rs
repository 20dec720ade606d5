//! The database of registered clients, and the record of who changed what: SQLite in a file, or
//! PostgreSQL. One set of statements for both, through sqlx's `Any` driver.
//!
//! Used by the control plane's tasks and by `weir migrate`; never on a request's way.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sqlx::{AnyConnection, AnyPool, Connection as _, any::AnyPoolOptions};
use url::Url;

use crate::config::Database;

pub mod audit;
mod backend_overrides;
pub mod changes;
pub mod clients;
pub mod migrations;
mod rows;
mod statement;

pub use rows::{BadRow, ReadClients, parse_network};

/// A database whose schema is there.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    /// Another one after each failure: connections to a file that was replaced are of no use.
    pool: Arc<ArcSwap<AnyPool>>,
}

/// Why the database gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The driver's or the server's reason.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A version of the schema could not be applied or taken away.
    #[error(transparent)]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database's file, or one beside it, cannot be made or opened.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// SQLite's write-ahead log needs memory that processes share.
    #[error("{} is on a network file system, where SQLite loses data; use a local disk or PostgreSQL", path.display())]
    NetworkFileSystem {
        /// The database's file.
        path: PathBuf,
    },
    /// Another process changes the schema.
    #[error("another process has been migrating the database for {0:?}")]
    Locked(Duration),
    /// A newer program has changed the schema in a way that this one cannot read.
    #[error("the database needs a newer Weir: its schema has version {0}")]
    NewerSchema(i64),
    /// The tables are missing.
    #[error("the database has no tables yet; run `weir migrate up`")]
    NoSchema,
    /// No answer in time.
    #[error("the database gave no answer within {0:?}")]
    TimedOut(Duration),
}

impl Store {
    /// A store that connects when it is asked.
    ///
    /// # Errors
    ///
    /// When the URL cannot be read by the driver.
    pub fn new(database: &Database) -> Result<Self, StoreError> {
        Ok(Self {
            database: database.clone(),
            pool: Arc::new(ArcSwap::from_pointee(pool(database)?)),
        })
    }

    /// Closes all connections, in the background. The next ones are new.
    ///
    /// # Errors
    ///
    /// As [`Store::new`].
    pub fn reconnect(&self) -> Result<(), StoreError> {
        let old = self.pool.swap(Arc::new(pool(&self.database)?));
        // One of them may have lost its other end: nothing waits for them.
        tokio::spawn(async move {
            let _closed_or_elapsed = tokio::time::timeout(ANSWER_TIME_MAX, old.close()).await;
        });
        Ok(())
    }

    fn pool(&self) -> Arc<AnyPool> {
        self.pool.load_full()
    }

    /// Which database it is.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Makes sure that the schema is there and can be read: makes it in a file of SQLite, and only
    /// looks on PostgreSQL, whose schema is for `weir migrate`.
    ///
    /// # Errors
    ///
    /// When it is missing, too new, or cannot be made.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        if let Database::Sqlite(_) = self.database {
            migrations::up(&self.database).await?;
        } else if migrations::status(&self.database)
            .await?
            .known
            .iter()
            .any(|(.., is_there)| !is_there)
        {
            return Err(StoreError::NoSchema);
        }
        let oldest = "SELECT min_reader FROM weir_schema";
        let min_reader: i64 = statement::scalar(oldest)
            .fetch_one(&mut *self.read().await?)
            .await?;
        match min_reader > migrations::NEWEST {
            true => Err(StoreError::NewerSchema(min_reader)),
            false => Ok(()),
        }
    }

    /// Begins a transaction that will write. SQLite is locked at once: a transaction that reads first
    /// may not be able to write after that.
    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, StoreError> {
        let begin = match self.database {
            Database::Sqlite(_) => "BEGIN IMMEDIATE",
            Database::Postgres(_) => POSTGRES_BEGIN,
        };
        Ok(self.pool().begin_with(begin).await?)
    }

    /// Begins a transaction that reads.
    async fn read(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, StoreError> {
        let begin = match self.database {
            Database::Sqlite(_) => "BEGIN",
            Database::Postgres(_) => POSTGRES_BEGIN,
        };
        Ok(self.pool().begin_with(begin).await?)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool().close().await;
    }
}

fn pool(database: &Database) -> Result<AnyPool, StoreError> {
    sqlx::any::install_default_drivers();
    let options = AnyPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ANSWER_TIME_MAX)
        .idle_timeout(IDLE_TIME_MAX)
        .after_connect(|connection, _| Box::pin(async move { set_up(connection).await }));
    Ok(options.connect_lazy(&url(database))?)
}

/// Opens one connection. Makes SQLite's file, readable by its owner alone, if it is not there.
async fn connect(database: &Database) -> Result<AnyConnection, StoreError> {
    sqlx::any::install_default_drivers();
    if let Database::Sqlite(path) = database {
        make_file(path)?;
    }
    let connecting = AnyConnection::connect(&url(database));
    let connection = tokio::time::timeout(ANSWER_TIME_MAX, connecting).await;
    let mut connection = connection.map_err(|_elapsed| StoreError::TimedOut(ANSWER_TIME_MAX))??;
    set_up(&mut connection).await?;
    Ok(connection)
}

fn make_file(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    match is_network_file_system(path) {
        true => Err(StoreError::NetworkFileSystem {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

#[cfg(target_os = "linux")]
#[allow(
    clippy::unnecessary_cast,
    reason = "the type differs between C libraries"
)]
fn is_network_file_system(path: &Path) -> bool {
    /// NFS, SMB, CIFS and SMB2, as statfs(2) lists them.
    const KINDS: [i64; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
    rustix::fs::statfs(path).is_ok_and(|system| KINDS.contains(&(system.f_type as i64)))
}

#[cfg(not(target_os = "linux"))]
fn is_network_file_system(_path: &Path) -> bool {
    false
}

/// What each connection needs. One of PostgreSQL may be a pooler's, who lends it to others.
async fn set_up(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    if connection.backend_name() != "PostgreSQL" {
        let pragmas =
            "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";
        sqlx::raw_sql(pragmas).execute(connection).await?;
    }
    Ok(())
}

/// The URL as the driver reads it.
fn url(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => {
            let path = path.to_string_lossy();
            format!(
                "sqlite://{}?mode=rw",
                utf8_percent_encode(&path, NOT_IN_PATHS)
            )
        }
        Database::Postgres(url) => named(url),
    }
}

/// The URL with a name for the server's list of connections.
fn named(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.query_pairs().any(|(key, _)| key == NAME) => {
            parsed.query_pairs_mut().append_pair(NAME, "weir");
            parsed.into()
        }
        Ok(_) | Err(_) => url.to_owned(),
    }
}

const NAME: &str = "application_name";
/// No setting that stays with the connection.
const POSTGRES_BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '5s'";
const NOT_IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');
const CONNECTIONS_MAX: u32 = 4;
const IDLE_TIME_MAX: Duration = Duration::from_secs(600);
/// The longest wait for a connection, and for a connection of the pool to come free.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
