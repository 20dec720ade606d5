//! The load balancers that are compared, with settings that ask the same of each: both backends
//! in turn, connections to them kept, the client named in the same headers, no log of requests.

use std::{error::Error, process::Command};

use crate::{
    http::{backends::Backends, work_folder::WorkFolder},
    server::{Server, free_addr},
    tools::{SERVER_CORE, pinned},
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
    /// Weir with all its defaults but for one worker.
    Weir,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Peer {
    pub const ALL: [Self; 5] = [
        Self::Relay,
        Self::Nginx,
        Self::Haproxy,
        Self::Caddy,
        Self::Weir,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "TCP relay",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::Weir => "**Weir**",
        }
    }

    /// Whether the others are held against it.
    pub fn is_rival(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy | Self::Caddy)
    }

    pub fn speaks(self, protocol: Protocol) -> bool {
        !matches!((self, protocol), (Self::Relay, Protocol::Http2))
    }

    /// Starts it, pinned, and waits until it accepts connections.
    pub fn start(self, backends: &Backends, protocol: Protocol) -> Result<Server, Box<dyn Error>> {
        let folder = WorkFolder::create(self.folder())?;
        let listen = free_addr()?;
        let [backend_a, backend_b] = backends.addrs.map(|addr| addr.to_string());
        let settings = folder.write_settings(
            self.template(),
            &[
                ("user", folder.owner()?),
                ("listen", &listen.to_string()),
                ("port", &listen.port().to_string()),
                ("http2", self.http2_option(protocol)),
                ("protocols", caddy_protocols(protocol)),
                ("backend_a", &backend_a),
                ("backend_b", &backend_b),
            ],
        )?;
        let mut command = self.command();
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
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Relay => include_str!("configs/relay.cfg"),
            Self::Nginx => include_str!("configs/nginx.conf"),
            Self::Haproxy => include_str!("configs/haproxy.cfg"),
            Self::Caddy => include_str!("configs/Caddyfile"),
            Self::Weir => include_str!("configs/weir.yaml"),
        }
    }

    /// What its listener needs for HTTP/2 without TLS. Caddy and Weir look at the first bytes.
    fn http2_option(self, protocol: Protocol) -> &'static str {
        match (self, protocol) {
            (Self::Nginx, Protocol::Http2) => " http2",
            (Self::Haproxy, Protocol::Http2) => " proto h2",
            _ => "",
        }
    }

    /// How to run it in the foreground, up to the name of the settings file.
    fn command(self) -> Command {
        match self {
            Self::Relay | Self::Haproxy => {
                let mut command = pinned(SERVER_CORE, "haproxy");
                command.args(["-db", "-f"]);
                command
            }
            Self::Nginx => {
                let mut command = pinned(SERVER_CORE, "nginx");
                command.args(["-e", "stderr", "-p", ".", "-c"]);
                command
            }
            Self::Caddy => {
                let mut command = pinned(SERVER_CORE, "caddy");
                command.args(["run", "--adapter", "caddyfile", "--config"]);
                command.env("GOMAXPROCS", "1");
                command
                    .env("XDG_CONFIG_HOME", "temp")
                    .env("XDG_DATA_HOME", "temp");
                command
            }
            Self::Weir => {
                let mut command = pinned(SERVER_CORE, env!("CARGO_BIN_EXE_weir"));
                command.arg("--config");
                command
            }
        }
    }
}

fn caddy_protocols(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "h1",
        Protocol::Http2 => "h1 h2 h2c",
    }
}
