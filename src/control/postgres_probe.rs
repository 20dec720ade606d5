//! Asks a PostgreSQL server whether it answers, and whether it is the primary.

use std::net::SocketAddr;

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    config::{PostgresLogin, PostgresProbe, PostgresRole},
    control::prober::ProbeFailure,
    net::Transport,
};

/// Asks a server on a fresh connection whether it speaks TLS, which every server answers, to anyone,
/// without a line in its log.
///
/// # Errors
///
/// When that is no answer of PostgreSQL.
pub(super) async fn ask_anonymously(mut server: Transport) -> Result<(), ProbeFailure> {
    server.write_all(&SSL_REQUEST).await?;
    match server.read_u8().await? {
        b'S' | b'N' => {
            // In good order, or the server logs a reset.
            let _gone_already = server.shutdown().await;
            Ok(())
        }
        _ => Err(ProbeFailure::Malformed),
    }
}

/// Logs in, and asks a server what it is.
///
/// # Errors
///
/// When it does not let the user in, or is something else than it has to be.
pub(super) async fn ask(
    addr: SocketAddr,
    probe: &PostgresProbe,
    login: &PostgresLogin,
) -> Result<(), ProbeFailure> {
    let mut connection = connect(addr, login).await?;
    let row = sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(&mut connection);
    let is_replica: bool = row.await.and_then(|row| row.try_get(0))?;
    let _closed = connection.close().await;
    match (probe.role, is_replica) {
        (PostgresRole::Primary, true) => Err(ProbeFailure::Role("a replica")),
        (PostgresRole::Replica, false) => Err(ProbeFailure::Role("the primary")),
        (PostgresRole::Any | PostgresRole::Primary | PostgresRole::Replica, _) => Ok(()),
    }
}

async fn connect(addr: SocketAddr, login: &PostgresLogin) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&addr.ip().to_string())
        .port(addr.port())
        .username(&login.user)
        .database(&login.database)
        .ssl_mode(PgSslMode::Prefer)
        .application_name("weir-check");
    let options = match &login.password {
        Some(password) => options.password(password.revealed()),
        None => options,
    };
    options.disable_statement_logging().connect().await
}

/// The length, and the number that asks for TLS (PostgreSQL documentation, message formats:
/// `SSLRequest`).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
