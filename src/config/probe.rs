//! What a check asks of a backend.

use std::{fmt, ops::RangeInclusive, time::Duration};

use http::{HeaderName, HeaderValue, Method, uri::PathAndQuery};

/// What one probe does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Probe {
    /// The TCP handshake completes, and the server says what it has to.
    Tcp(TextProbe),
    /// A request is answered with a status within bounds.
    Http(Box<HttpProbe>),
    /// `grpc.health.v1.Health/Check` answers `SERVING` for this service; the empty name is the
    /// server as a whole.
    Grpc(String),
    /// A PostgreSQL server answers, and is what it has to be.
    Postgres(Box<PostgresProbe>),
    /// A Redis or Valkey server answers, and is what it has to be.
    Redis(Box<RedisProbe>),
    /// A MySQL or MariaDB server takes connections.
    Mysql(MysqlProbe),
}

impl Default for Probe {
    /// A TCP connect.
    fn default() -> Self {
        Self::Tcp(TextProbe::default())
    }
}

impl Probe {
    /// Whether a backend that passes is a server that takes writes.
    pub fn finds_primary(&self) -> bool {
        match self {
            Self::Postgres(probe) => probe.role == PostgresRole::Primary,
            Self::Tcp(_) | Self::Http(_) | Self::Grpc(_) | Self::Redis(_) | Self::Mysql(_) => false,
        }
    }
}

/// What is said to a server, and what it has to say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TextProbe {
    /// What is sent first. Default `None`: nothing.
    pub send: Option<String>,
    /// What has to come within the first 16 KiB. Default `None`: nothing is read.
    pub expect: Option<String>,
}

/// The request of an HTTP probe, and the answers that are healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpProbe {
    /// The method. Default `GET`.
    pub method: Method,
    /// Path and query.
    pub path: PathAndQuery,
    /// The `Host` header. Default host and port as the configuration names the backend.
    pub host: Option<HeaderValue>,
    /// Further headers, at most 100.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The statuses that are healthy. Default 200 to 399.
    pub status: RangeInclusive<u16>,
}

/// A check of a PostgreSQL server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresProbe {
    /// What it has to be.
    pub role: PostgresRole,
    /// Who asks. Default `None`: the server is asked whether it speaks TLS, which needs no user.
    pub login: Option<PostgresLogin>,
    /// The longest that a replica may be behind its primary. Default unlimited, bounds 100 ms to 24 h.
    pub lag_max: Option<Duration>,
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

/// A check of a Redis or Valkey server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedisProbe {
    /// What it has to be.
    pub role: RedisRole,
    /// Its user of an access control list. Default `None`: the server's default user.
    pub user: Option<String>,
    /// The user's password. Default `None`: the server asks for none.
    pub password: Option<Password>,
}

/// What a Redis server has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedisRole {
    /// A server that answers `PING`.
    Any,
    /// One whose `ROLE` is `master`.
    Primary,
}

/// A check of a MySQL or MariaDB server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MysqlProbe {
    /// A user without a password, who logs in. Default `None`: only the server's greeting is read.
    pub user: Option<String>,
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
