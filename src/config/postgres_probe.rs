//! What is asked of a PostgreSQL server.

use std::fmt;

/// A check of a PostgreSQL server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresProbe {
    /// What it has to be.
    pub role: PostgresRole,
    /// Who asks. Default `None`: the server is asked whether it speaks TLS, which needs no user.
    pub login: Option<PostgresLogin>,
}

/// What a PostgreSQL server has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PostgresRole {
    /// A server that answers.
    Any,
    /// The one that takes writes.
    Primary,
    /// One that follows the primary.
    Replica,
}

/// A user of PostgreSQL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresLogin {
    /// Its name.
    pub user: String,
    /// Its password. Default `None`.
    pub password: Option<Password>,
    /// The database that it connects to. Default `postgres`.
    pub database: String,
}

/// A password. Messages do not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

impl Password {
    /// A password of any text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn revealed(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
