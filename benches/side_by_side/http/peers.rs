//! The load balancers that are compared, with settings that ask the same of each: both backends
//! in turn, connections to them kept, the client named in the same headers, no log of requests.

use std::{error::Error, path::PathBuf, process::Command};

use crate::{
    http::{setup::Setup, work_folder::WorkFolder},
    server::{Server, free_addr},
    tools::{SERVER_CORE, pinned, weir},
};

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// HAProxy as a TCP relay: about the least that can stand between client and backend, as long
    /// as connections last. It needs a fresh one to the backend for each of the client's.
    Relay,
    Nginx,
    Haproxy,
    Caddy,
    /// Weir with all its defaults but for the number of workers.
    Weir,
    /// nginx as a TCP relay.
    Stream,
    /// The TCP load balancer of Weir.
    Sessions,
}

impl Peer {
    pub const ALL: [Self; 5] = [
        Self::Relay,
        Self::Nginx,
        Self::Haproxy,
        Self::Caddy,
        Self::Weir,
    ];

    /// Those that read no request.
    pub const RELAYS: [Self; 3] = [Self::Stream, Self::Relay, Self::Sessions];

    pub const RIVALS_AND_WEIR: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Weir];

    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "TCP relay",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::Weir => "**Weir**",
            Self::Stream => "nginx `stream`",
            Self::Sessions => "**Weir** `tcp`",
        }
    }

    /// Whether it is one of those that ratios are taken to, among these.
    pub fn is_rival(self, among: &[Self]) -> bool {
        let relays = among.iter().any(|peer| matches!(peer, Self::Sessions));
        match self {
            Self::Nginx | Self::Haproxy | Self::Stream => true,
            Self::Relay => relays,
            Self::Caddy | Self::Weir | Self::Sessions => false,
        }
    }

    /// Starts it, pinned, and waits until it accepts connections.
    pub fn start(self, setup: &Setup<'_>) -> Result<Server, Box<dyn Error>> {
        self.start_in(self.folder(), setup)
    }

    /// The same in a folder of another name, so that two may run at a time.
    pub fn start_in(self, folder: &str, setup: &Setup<'_>) -> Result<Server, Box<dyn Error>> {
        let folder = WorkFolder::create(folder)?;
        let listen = free_addr()?;
        let mut values = setup.values(self, listen);
        values.push(("user", folder.owner()?.to_owned()));
        let settings = folder.write_settings(self.template(), &values)?;
        let mut command = self.command(setup.workers)?;
        command.arg(settings).current_dir(folder.path());
        folder.start(&mut command, listen)
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Weir => "weir",
            Self::Stream => "stream",
            Self::Sessions => "sessions",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Relay => include_str!("configs/relay.cfg"),
            Self::Nginx => include_str!("configs/nginx.conf"),
            Self::Haproxy => include_str!("configs/haproxy.cfg"),
            Self::Caddy => include_str!("configs/Caddyfile"),
            Self::Weir => include_str!("configs/weir.yaml"),
            Self::Stream => include_str!("configs/stream.conf"),
            Self::Sessions => include_str!("configs/sessions.yaml"),
        }
    }

    /// How to run it in the foreground, up to the name of the settings file.
    fn command(self, workers: u32) -> Result<Command, Box<dyn Error>> {
        let (program, arguments): (PathBuf, &[&str]) = match self {
            Self::Relay | Self::Haproxy => ("haproxy".into(), &["-db", "-f"]),
            Self::Nginx | Self::Stream => ("nginx".into(), &["-e", "stderr", "-p", ".", "-c"]),
            Self::Caddy => (
                "caddy".into(),
                &["run", "--adapter", "caddyfile", "--config"],
            ),
            Self::Weir | Self::Sessions => (weir()?, &["--config"]),
        };
        let mut command = pinned(SERVER_CORE, program);
        command.args(arguments);
        // Caddy takes these from its environment.
        command
            .env("GOMAXPROCS", workers.to_string())
            .env("XDG_CONFIG_HOME", "temp")
            .env("XDG_DATA_HOME", "temp");
        Ok(command)
    }
}
