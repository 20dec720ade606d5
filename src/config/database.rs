//! Which database holds the clients.

use std::{fmt, path::PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::masked_url::masked;

/// The database of clients.
#[derive(Clone, Eq, PartialEq)]
pub enum Database {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A server of PostgreSQL, by its URL, which may hold a password.
    Postgres(String),
}

impl Database {
    /// Reads a URL such as `sqlite://weir.db` or `postgres://user@host/weir`.
    ///
    /// # Errors
    ///
    /// What is wrong, as the end of a sentence that begins with the URL without its password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split('?').next().unwrap_or_default();
            let path = percent_decode_str(path).decode_utf8_lossy();
            return match &*path {
                "" | ":memory:" => Err("names no file; write sqlite://weir.db"),
                path => Ok(Self::Sqlite(path.into())),
            };
        }
        let url = Url::parse(text).map_err(|_source| EXPECTED)?;
        match url.scheme() {
            "postgres" | "postgresql" if url.has_host() => Ok(Self::Postgres(text.to_owned())),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const EXPECTED: &str = "must be sqlite://FILE or postgres://USER@HOST/DATABASE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_servers_are_told_apart() {
        let sqlite = |text| Database::parse(text).unwrap();
        assert_eq!(
            sqlite("sqlite://weir.db"),
            Database::Sqlite("weir.db".into())
        );
        assert_eq!(sqlite("sqlite:weir.db"), Database::Sqlite("weir.db".into()));
        assert_eq!(
            sqlite("sqlite:///data/a%20b.db?mode=rwc"),
            Database::Sqlite("/data/a b.db".into())
        );
        for text in ["postgres://weir:secret@db/weir", "postgresql://db/weir"] {
            assert_eq!(
                Database::parse(text),
                Ok(Database::Postgres(text.to_owned()))
            );
        }
        for text in [
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "mysql://db/weir",
            "weir.db",
            "postgres:weir",
        ] {
            assert!(Database::parse(text).is_err(), "{text}");
        }
    }
}
