//! The command line.

use clap::{Parser, Subcommand};

use crate::config::Flags;

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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Run everything that the configuration names
    #[default]
    Serve,
    /// Run with nothing to configure, show some calls and commands to try
    Demo,
    /// Read and check the configuration without binding anything
    #[command(visible_alias = "validate")]
    Check,
    /// Exit with 0 if the running process is ready for traffic
    Healthcheck,
}
