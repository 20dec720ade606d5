//! Asks a PostgreSQL server whether it answers, whether it is the primary, and how far it is behind.

use std::{net::SocketAddr, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use crate::{
    config::{PostgresLogin, PostgresProbe, PostgresRole},
    control::prober::{Clusters, Found, ProbeFailure, Prober},
    net::Transport,
    replication::{Replica, Timeline},
};

/// Asks one server again and again.
#[derive(Debug)]
pub(super) struct PostgresProber {
    clusters: Clusters,
    /// When a probe last found it, a replica, connected to its primary.
    connected_at: Option<Instant>,
}

/// What a server says of itself.
#[derive(Debug)]
enum Role {
    Primary {
        timeline: Timeline,
        position: u64,
    },
    Replica {
        system: i64,
        received: u64,
        replayed: u64,
        replay_age: Option<Duration>,
        is_connected: bool,
    },
}

impl PostgresProber {
    /// Knows nothing of the server yet.
    pub(super) fn new(clusters: Clusters) -> Self {
        Self {
            clusters,
            connected_at: None,
        }
    }

    /// Logs in, and asks the server what it is.
    ///
    /// # Errors
    ///
    /// When it does not let the user in, is something else than it has to be, or is too far behind.
    pub(super) async fn ask(
        &mut self,
        prober: &Prober,
        probe: &PostgresProbe,
        login: &PostgresLogin,
    ) -> Result<Found, ProbeFailure> {
        let mut connection = connect(prober.addr(), login).await?;
        let row = sqlx::raw_sql(QUESTION).fetch_one(&mut connection).await?;
        let role = Role::of(&row)?;
        let _closed = connection.close().await;
        match (probe.role, role) {
            (PostgresRole::Replica, Role::Primary { .. }) => Err(ProbeFailure::Role("the primary")),
            (PostgresRole::Primary, Role::Replica { .. }) => Err(ProbeFailure::Role("a replica")),
            (_, Role::Primary { timeline, position }) => {
                // So that one lost probe does not make it dead.
                let alive_for = prober.check.interval * 2 + prober.check.timeout;
                let now = Instant::now().into_std();
                self.clusters.with(timeline.system, |positions| {
                    positions.note_primary(timeline.number, position, now, alive_for);
                });
                Ok(Found::Primary(timeline))
            }
            (_, replica @ Role::Replica { .. }) => {
                self.follow(&replica, probe.lag_max)?;
                Ok(Found::Server)
            }
        }
    }

    /// Judges a replica by what is known of its primary.
    fn follow(&mut self, role: &Role, lag_max: Option<Duration>) -> Result<(), ProbeFailure> {
        let Role::Replica {
            system,
            received,
            replayed,
            replay_age,
            is_connected,
        } = *role
        else {
            return Ok(());
        };
        let now = Instant::now();
        if is_connected {
            self.connected_at = Some(now);
        }
        let replica = Replica {
            replayed,
            replay_age,
            connected_at: self.connected_at.map(Instant::into_std),
        };
        let now = now.into_std();
        let lag = self.clusters.with(system, |positions| {
            positions.note_received(received, now);
            positions.lag(&replica, now)
        });
        match lag_max {
            Some(most) if lag > most && lag == Duration::MAX => Err(ProbeFailure::CutOff),
            Some(most) if lag > most => Err(ProbeFailure::Lag { lag, most }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Role {
    fn of(row: &PgRow) -> Result<Self, ProbeFailure> {
        let system: i64 = row.try_get("system")?;
        let position = |column| -> Result<u64, ProbeFailure> {
            let position: Option<i64> = row.try_get(column)?;
            u64::try_from(position.unwrap_or(0)).map_err(|_source| ProbeFailure::Malformed)
        };
        // The name of a file of the log begins with the timeline in hexadecimal.
        let file: Option<String> = row.try_get("log_file")?;
        let Some(file) = file else {
            let replay_age: Option<f64> = row.try_get("replay_age")?;
            return Ok(Self::Replica {
                system,
                received: position("received")?,
                replayed: position("position")?,
                replay_age: replay_age.and_then(|age| Duration::try_from_secs_f64(age).ok()),
                is_connected: row.try_get("is_connected")?,
            });
        };
        let number = file
            .get(..8)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or(ProbeFailure::Malformed)?;
        Ok(Self::Primary {
            timeline: Timeline { system, number },
            position: position("position")?,
        })
    }
}

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

/// All of it may be asked by a user without rights, from PostgreSQL 10 on. Whether the log arrives is
/// told by a row in `pg_stat_wal_receiver`, of which such a user sees no more than that it is there.
const QUESTION: &str = "\
SELECT (SELECT system_identifier FROM pg_control_system()) AS system,
       ((CASE WHEN is_replica THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) - '0/0'::pg_lsn)::bigint AS position,
       (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::bigint AS received,
       CASE WHEN NOT is_replica THEN pg_walfile_name(pg_current_wal_lsn()) END AS log_file,
       EXISTS (SELECT FROM pg_stat_wal_receiver) AS is_connected,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replay_age
  FROM pg_is_in_recovery() AS is_replica";
/// The length, and the number that asks for TLS (PostgreSQL documentation, message formats:
/// `SSLRequest`).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
