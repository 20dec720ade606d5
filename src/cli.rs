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
    pub command: Option<Command>,
    /// Settings that win over the environment and the file.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum Command {
    /// Run everything that the configuration names
    #[default]
    Serve,
    /// Run with nothing to configure, show some calls and commands to try
    Demo {
        /// Address of the demo's HTTP load balancer
        #[arg(long, default_value = "127.0.0.1:8080")]
        http_listen: SocketAddr,
    },
    /// Read and check the configuration without binding anything
    #[command(visible_alias = "validate")]
    Check,
    /// Run a small HTTP server to put behind the balancer
    Backend(TestBackend),
    /// Exit with 0 if the running process is ready for traffic
    Healthcheck,
}
