//! Where the processes of a fleet share their rate limits.

use std::fmt;

use redis::IntoConnectionInfo as _;

use crate::config::masked_url::masked;

/// A server of Redis or Valkey that holds the buckets of all processes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redis {
    /// Where it is.
    pub url: RedisUrl,
    /// What its keys begin with, in braces. Default `weir`. Processes with the same one share their
    /// buckets.
    pub prefix: String,
    /// What limits are worth while it gives no answer. Default `Local`.
    pub on_failure: OnFailure,
}

/// What limits are worth while the server gives no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// Each process admits as much as the whole fleet may.
    Local,
    /// Each request is admitted.
    Allow,
    /// Each request that comes under a limit is refused.
    Deny,
}

/// The URL of a server, which may hold a password.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Reads a URL such as `redis://:password@host:6379/0`, `rediss://host` for TLS, or
    /// `unix:///run/redis.sock`.
    ///
    /// # Errors
    ///
    /// What is wrong, as the end of a sentence that begins with the URL without its password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.into_connection_info() {
            Ok(_info) => Ok(Self(text.to_owned())),
            Err(_source) => Err(EXPECTED),
        }
    }

    /// The URL with its password.
    pub fn revealed(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const EXPECTED: &str =
    "must be redis://HOST[:PORT][/NUMBER], rediss://HOST for TLS, or unix:///PATH";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_are_read() {
        for text in [
            "redis://redis",
            "redis://weir:secret@redis:6379/2",
            "rediss://redis",
            "valkey://[::1]:6379",
            "unix:///run/redis.sock",
        ] {
            assert!(RedisUrl::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "redis:6379",
            "http://redis",
            "redis://redis/x",
            "redis://redis:x",
        ] {
            assert!(RedisUrl::parse(text).is_err(), "{text}");
        }
    }
}
