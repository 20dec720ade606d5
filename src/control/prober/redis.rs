//! Asks a server of Redis or Valkey whether it answers, and whether it is the primary.

use redis::{AsyncConnectionConfig, RedisConnectionInfo, aio::MultiplexedConnection};

use crate::{
    config::{RedisProbe, RedisRole},
    control::prober::ProbeFailure,
    net::Transport,
};

/// Logs in if there is a password, and asks.
///
/// # Errors
///
/// When the server refuses, or is something else than it has to be.
pub(super) async fn ask(server: Transport, probe: &RedisProbe) -> Result<(), ProbeFailure> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(user) = &probe.user {
        login = login.set_username(user);
    }
    if let Some(password) = &probe.password {
        login = login.set_password(password.revealed());
    }
    // The whole probe has a time limit.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&login, server, config).await?;
    tokio::select! {
        found = role(connection, probe.role) => found,
        () = driver => Err(ProbeFailure::Malformed),
    }
}

async fn role(mut connection: MultiplexedConnection, role: RedisRole) -> Result<(), ProbeFailure> {
    let pong: String = redis::cmd("PING").query_async(&mut connection).await?;
    if pong != "PONG" {
        return Err(ProbeFailure::Malformed);
    }
    match role {
        RedisRole::Any => Ok(()),
        RedisRole::Primary => {
            let answer: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            let role = answer.into_iter().next().ok_or(ProbeFailure::Malformed)?;
            match redis::from_redis_value::<String>(role) {
                Ok(role) if role == "master" => Ok(()),
                Ok(_replica_or_sentinel) => Err(ProbeFailure::Role("not the primary")),
                Err(_source) => Err(ProbeFailure::Malformed),
            }
        }
    }
}
