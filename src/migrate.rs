//! `weir migrate`: brings the database's schema to a version.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use tokio::runtime;

use crate::{
    config::{ConfigErrors, Database},
    store::{StoreError, migrations},
};

/// Where to bring the schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Direction {
    /// Apply every version that is missing
    Up,
    /// Take the newest version away, with the data in its tables
    Down,
    /// Show which versions are applied
    Status,
}

/// Why the schema is not where it is to be.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Where the database is cannot be read.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// Nothing names a database.
    #[error(
        "no database is configured: set DATABASE_URL (for example sqlite://weir.db), or `database:` in the file"
    )]
    NoDatabase,
    /// It gives no answer, or a statement fails.
    #[error("{database}: {source}")]
    Store {
        /// Which one.
        database: Database,
        /// The reason.
        source: StoreError,
    },
    /// The runtime cannot be started, or the result not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Brings the schema of a database there, and prints what was done.
///
/// # Errors
///
/// Why it is not there.
pub fn run(
    direction: Direction,
    database: Result<Option<Database>, ConfigErrors>,
) -> Result<(), MigrateError> {
    let database = database?.ok_or(MigrateError::NoDatabase)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(migrate(direction, &database));
    let done = done.map_err(|source| MigrateError::Store {
        database: database.clone(),
        source,
    })?;
    write!(io::stdout(), "{database}\n{done}")?;
    Ok(())
}

async fn migrate(direction: Direction, database: &Database) -> Result<String, StoreError> {
    match direction {
        Direction::Up => {
            let applied = migrations::up(database).await?;
            Ok(listed("applied", &applied, "nothing to apply"))
        }
        Direction::Down => {
            let removed = migrations::down(database).await?;
            let removed: Vec<i64> = removed.into_iter().collect();
            Ok(listed("taken away", &removed, "nothing to take away"))
        }
        Direction::Status => Ok(shown(&migrations::status(database).await?)),
    }
}

fn listed(what: &str, versions: &[i64], nothing: &str) -> String {
    match versions {
        [] => format!("{nothing}\n"),
        versions => versions
            .iter()
            .map(|version| format!("{what}: version {version}\n"))
            .collect(),
    }
}

fn shown(status: &migrations::SchemaStatus) -> String {
    let mut text = String::new();
    for (version, name, is_applied) in &status.known {
        let state = if *is_applied { "applied" } else { "missing" };
        let _infallible = writeln!(text, "{version} {name}: {state}");
    }
    for version in &status.newer {
        let _infallible = writeln!(text, "{version}: applied by a newer Weir");
    }
    text
}
