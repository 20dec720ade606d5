//! The token buckets that the processes of a fleet share, in a server of Redis or Valkey.
//!
//! The server keeps how much of each bucket is missing, as the time in which that comes back. A
//! process reports what it took, and learns what is missing now. Used by a task of the control plane;
//! never on a request's way.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisError, Script,
    aio::MultiplexedConnection,
};

use crate::config::Redis;

/// A connection to the server.
#[derive(Debug)]
pub struct SharedBuckets {
    connection: MultiplexedConnection,
    script: Script,
    prefix: String,
}

/// What a process took from one bucket.
#[derive(Clone, Debug)]
pub struct Report {
    /// The bucket's name, the same in all processes.
    pub bucket: String,
    /// What it took since its last report, as the time in which that comes back.
    pub used: Duration,
    /// What it knows to be missing besides: counts where the server has lost the bucket.
    pub known: Duration,
    /// The most that can be missing.
    pub most: Duration,
}

/// Another node of a cluster, which holds the buckets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    host: String,
    port: u16,
}

/// Why the server gives no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The driver's or the server's reason.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// There are not as many answers as questions.
    #[error("the script of rate limits gave an answer that makes no sense")]
    Answer,
}

impl FleetError {
    /// The node of a cluster that the server said to ask instead.
    pub fn moved_to(&self) -> Option<Node> {
        let Self::Redis(error) = self else {
            return None;
        };
        let (address, _slot) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Node {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }
}

impl SharedBuckets {
    /// Connects, after a look-up of the server's name, and makes sure that buckets can be changed: a
    /// replica, a server that is still loading its data or a full one is of no use.
    ///
    /// # Errors
    ///
    /// When that does not succeed within two seconds.
    pub async fn connect(redis: &Redis, node: Option<Node>) -> Result<Self, FleetError> {
        let mut info = redis.url.revealed().into_connection_info()?;
        if let Some(node) = node {
            let address = at(info.addr(), node);
            info = info.set_addr(address);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIME_MAX))
            .set_response_timeout(Some(TIME_MAX));
        let client = Client::open(info)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let mut buckets = Self {
            connection: connection.await?,
            script: Script::new(SCRIPT),
            prefix: format!("{{{}}}", redis.prefix),
        };
        buckets.probe().await?;
        Ok(buckets)
    }

    /// Makes sure that buckets can be changed.
    ///
    /// # Errors
    ///
    /// As [`SharedBuckets::report`].
    pub async fn probe(&mut self) -> Result<(), FleetError> {
        let probe = Report {
            bucket: "probe".to_owned(),
            used: Duration::ZERO,
            known: Duration::ZERO,
            most: Duration::ZERO,
        };
        self.report(&[probe]).await?;
        Ok(())
    }

    /// Reports what was taken, and returns what is missing from each bucket now. A report that got no
    /// answer may have counted, and must not be repeated.
    ///
    /// # Errors
    ///
    /// When there is no answer within a second, or it is an error.
    pub async fn report(&mut self, reports: &[Report]) -> Result<Vec<Duration>, FleetError> {
        let mut call = self.script.prepare_invoke();
        for report in reports {
            call.key(format!("{}:{}", self.prefix, report.bucket));
            for time in [report.used, report.known, report.most] {
                call.arg(micros(time));
            }
        }
        // The library sends the script where the server does not know it, and repeats nothing else.
        let answers: Vec<String> = call.invoke_async(&mut self.connection).await?;
        let times: Option<Vec<Duration>> = answers.iter().map(|text| time_of(text)).collect();
        let times = times.filter(|times| times.len() == reports.len());
        times.ok_or(FleetError::Answer)
    }
}

/// The same kind of address at another node.
fn at(address: &ConnectionAddr, node: Node) -> ConnectionAddr {
    let Node { host, port } = node;
    let ConnectionAddr::TcpTls {
        insecure,
        tls_params,
        ..
    } = address
    else {
        return ConnectionAddr::Tcp(host, port);
    };
    ConnectionAddr::TcpTls {
        host,
        port,
        insecure: *insecure,
        tls_params: tls_params.clone(),
    }
}

fn micros(time: Duration) -> String {
    format!("{}.{:03}", time.as_micros(), time.subsec_nanos() % 1_000)
}

fn time_of(micros: &str) -> Option<Duration> {
    let micros: f64 = micros.parse().ok()?;
    Duration::try_from_secs_f64(micros / 1e6).ok()
}

const SCRIPT: &str = include_str!("report.lua");
const TIME_MAX: Duration = Duration::from_secs(1);
