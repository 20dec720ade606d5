//! The command line.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::{backend::TestBackend, config::Flags};

/// A video traffic router: nine calls in ten to the CDN, every tenth to the origin.
#[derive(Debug, Parser)]
#[command(version, about, subcommand_negates_reqs = true)]
pub struct Cli {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    command: Option<Command>,
    /// Settings that win over the environment and the file.
    #[command(flatten)]
    flags: Flags,
}

impl Cli {
    /// The command, with the flags before its name and those behind it. The latter win.
    pub fn into_command(self) -> Command {
        let before = self.flags;
        match self.command {
            None => Command::Serve(before),
            Some(Command::Serve(flags)) => Command::Serve(flags.or(before)),
            Some(Command::Check(flags)) => Command::Check(flags.or(before)),
            Some(Command::Healthcheck(flags)) => Command::Healthcheck(flags.or(before)),
            Some(Command::Demo { http_listen, flags }) => Command::Demo {
                http_listen,
                flags: flags.or(before),
            },
            Some(command @ Command::Backend(_)) => command,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run everything that the configuration names
    Serve(Flags),
    /// Run with nothing to configure, show some calls and commands to try
    Demo {
        /// Address of the demo's HTTP load balancer
        #[arg(long, default_value = "127.0.0.1:8080")]
        http_listen: SocketAddr,
        /// Settings that win over the environment and the file.
        #[command(flatten)]
        flags: Flags,
    },
    /// Read and check the configuration without binding anything
    #[command(visible_alias = "validate")]
    Check(Flags),
    /// Run a small HTTP server to put behind the balancer
    Backend(TestBackend),
    /// Exit with 0 if the running process is ready for traffic
    Healthcheck(Flags),
}
