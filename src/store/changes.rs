//! Tells when clients may have changed: by this process, by another one, or by hand with `psql` or
//! `sqlite3`.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf};

use sqlx::{
    Connection as _, Executor as _, Row as _, SqliteConnection, postgres::PgListener,
    sqlite::SqliteConnectOptions,
};
use tokio::time::{Duration, sleep, timeout};

use crate::{
    config::Database,
    store::{Store, StoreError, statement},
};

/// Waits for changes.
#[derive(Debug)]
pub struct Changes {
    source: Source,
}

enum Source {
    /// One connection that never writes: `PRAGMA data_version` tells of changes by others, and means
    /// something on one connection only.
    Sqlite {
        path: PathBuf,
        connection: SqliteConnection,
        seen: i64,
        /// Which file it was.
        file: (u64, u64),
    },
    /// Notifications of a channel.
    Notified(Box<PgListener>),
    /// A server behind a pooler that loses notifications: sums of what is there.
    Polled { store: Store, seen: Sums },
}

/// Count and versions of clients.
type Sums = (i64, i64);

impl Changes {
    /// Begins to listen. What is read after this call is not older than what it will tell of.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn of(store: &Store) -> Result<Self, StoreError> {
        let source = match store.database() {
            Database::Sqlite(path) => Source::sqlite(path.clone()).await?,
            Database::Postgres(url) => Source::postgres(url, store).await?,
        };
        Ok(Self { source })
    }

    /// Waits until clients may have changed.
    ///
    /// # Errors
    ///
    /// When the database gives no answer any more, or changes may have been missed.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        match &mut self.source {
            Source::Sqlite {
                path,
                connection,
                seen,
                file,
            } => loop {
                sleep(POLL_INTERVAL).await;
                let now = data_version(connection).await?;
                if identity(path)? != *file {
                    // Another file is in its place. It needs another connection.
                    return Err(replaced(path));
                }
                if std::mem::replace(seen, now) != now {
                    return Ok(());
                }
            },
            Source::Notified(listener) => notified(listener).await,
            Source::Polled { store, seen } => loop {
                sleep(POLL_INTERVAL * 2).await;
                let now = sums(store).await?;
                if std::mem::replace(seen, now) != now {
                    return Ok(());
                }
            },
        }
    }
}

impl Source {
    async fn sqlite(path: PathBuf) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false);
        let file = identity(&path)?;
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let seen = data_version(&mut connection).await?;
        Ok(Self::Sqlite {
            path,
            connection,
            seen,
            file,
        })
    }

    async fn postgres(url: &str, store: &Store) -> Result<Self, StoreError> {
        let connecting = PgListener::connect(url);
        let listener = timeout(ANSWER_TIME_MAX, connecting).await;
        let mut listener = listener.map_err(|_elapsed| StoreError::TimedOut(ANSWER_TIME_MAX))??;
        if keeps_session(&mut listener, store).await? {
            listener.listen(CHANNEL).await?;
            if hears_itself(&mut listener, store).await? {
                return Ok(Self::Notified(Box::new(listener)));
            }
        }
        tracing::warn!(
            "the database loses notifications, as behind a pooler in transaction mode; it is polled instead. \
             Use a session pool or connect directly"
        );
        let seen = sums(store).await?;
        Ok(Self::Polled {
            store: store.clone(),
            seen,
        })
    }
}

/// Whether a connection has the server's session for itself: not so where a pooler shares sessions
/// between transactions. There, to listen would make notifications come to other clients of the pooler.
async fn keeps_session(listener: &mut PgListener, store: &Store) -> Result<bool, StoreError> {
    let before = session(listener).await?;
    let mut other = store.read().await?;
    let other_session: i32 = statement::scalar(SESSION).fetch_one(&mut *other).await?;
    // While the other transaction keeps its session.
    Ok(other_session != before && session(listener).await? == before)
}

async fn session(listener: &mut PgListener) -> Result<i32, StoreError> {
    let row = listener.fetch_one(sqlx::raw_sql(SESSION)).await?;
    Ok(row.try_get(0)?)
}

/// Whether a notification comes back.
async fn hears_itself(listener: &mut PgListener, store: &Store) -> Result<bool, StoreError> {
    let notify = "SELECT pg_notify('weir_clients', '')";
    let mut transaction = store.begin().await?;
    statement::query(notify).execute(&mut *transaction).await?;
    transaction.commit().await?;
    match timeout(ECHO_TIME_MAX, listener.try_recv()).await {
        Ok(received) => Ok(received?.is_some()),
        Err(_elapsed) => Ok(false),
    }
}

/// Waits for a notification. The listener itself writes nothing, so that a connection whose other
/// end is gone would be waited on for ever; a query asks whether it still is there.
async fn notified(listener: &mut PgListener) -> Result<(), StoreError> {
    loop {
        match timeout(HEARTBEAT_INTERVAL, listener.try_recv()).await {
            Ok(Ok(Some(_notification))) => return Ok(()),
            // The connection was lost, and notifications with it.
            Ok(Ok(None)) => return Err(lost()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_elapsed) => {
                let heartbeat = sqlx::query("SELECT 1").execute(&mut *listener);
                let answered = timeout(ANSWER_TIME_MAX, heartbeat).await;
                answered.map_err(|_elapsed| StoreError::TimedOut(ANSWER_TIME_MAX))??;
            }
        }
    }
}

fn lost() -> StoreError {
    StoreError::Database(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()))
}

fn replaced(path: &std::path::Path) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        source: std::io::Error::other("the file was replaced"),
    }
}

fn identity(path: &std::path::Path) -> Result<(u64, u64), StoreError> {
    let metadata = std::fs::metadata(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok((metadata.dev(), metadata.ino()))
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(connection)
        .await?)
}

async fn sums(store: &Store) -> Result<Sums, StoreError> {
    let sums = "SELECT count(*), coalesce(sum(version), 0)::bigint FROM clients";
    let row = statement::query(sums)
        .fetch_one(&mut *store.read().await?)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite { .. } => "Sqlite",
            Self::Notified(_) => "Notified",
            Self::Polled { .. } => "Polled",
        })
    }
}

const SESSION: &str = "SELECT pg_backend_pid()";
const CHANNEL: &str = "weir_clients";
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
const ECHO_TIME_MAX: Duration = Duration::from_secs(2);
