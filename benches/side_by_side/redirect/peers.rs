//! The servers that are compared, as processes of their own.

use std::{env, error::Error, net::SocketAddr};

use crate::{
    server::Server,
    tools::{SERVER_CORE, pinned, weir},
};

/// What is compared. The first is what the others are held against.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// The least that a server on this stack can do: the `h2` crate by hand, no metrics, no
    /// limits, no timeouts.
    Floor,
    /// Weir with all its defaults.
    Weir,
    /// `tonic::transport::Server` as its documentation has it.
    StockTonic,
}

impl Peer {
    pub const ALL: [Self; 3] = [Self::Floor, Self::Weir, Self::StockTonic];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "raw `h2` (floor)",
            Self::Weir => "**Weir**",
            Self::StockTonic => "tonic `Server`",
        }
    }

    /// Starts it, pinned, and waits until it accepts connections.
    pub fn start(self) -> Result<Server, Box<dyn Error>> {
        match self {
            Self::Floor => start_own("serve-floor"),
            Self::StockTonic => start_own("serve-stock-tonic"),
            Self::Weir => start_weir(),
        }
    }
}

fn start_own(argument: &str) -> Result<Server, Box<dyn Error>> {
    let mut command = pinned(SERVER_CORE, env::current_exe()?);
    Server::start_announced(command.arg(argument), |line| Ok(line.trim().parse()?))
}

fn start_weir() -> Result<Server, Box<dyn Error>> {
    let mut command = pinned(SERVER_CORE, weir()?);
    command.args([
        "--cdn-host=cdn.example.com",
        "--redirect-listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
    ]);
    Server::start_announced(&mut command, logged_addr)
}

fn logged_addr(line: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let event: serde_json::Value = serde_json::from_str(line)?;
    let addr = event["redirect"]
        .as_str()
        .ok_or("the first log line names no redirect address")?;
    Ok(addr.parse()?)
}
