//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    api_commands::{ClientsCommand, ExplainArguments},
    backend::TestBackend,
    check::CheckFormat,
    config::Flags,
    import::Dialect,
    migrate::Direction,
    top::TopArguments,
};

/// A video traffic router: nine calls in ten to the CDN, every tenth to the origin.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, subcommand_negates_reqs = true)]
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
        let Some(mut command) = self.command else {
            return Command::Serve(before);
        };
        if let Some(flags) = command.flags() {
            *flags = std::mem::take(flags).or(before);
        }
        command
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
    /// Read and check the configuration without binding anything, and show what would run
    #[command(visible_alias = "validate")]
    Check {
        /// Configuration file (YAML), as with --config; `-` is standard input
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// How the result is written
        #[arg(long, value_enum, default_value_t)]
        format: CheckFormat,
        /// Settings that win over the environment and the file.
        #[command(flatten)]
        flags: Flags,
    },
    /// Turn a configuration of HAProxy or nginx into a Weir file, and name what it leaves out
    ///
    /// The Weir file goes to standard output. Standard error gets a line for each directive that Weir does by
    /// itself, does only nearly, or does not do: FILE:LINE: DIRECTIVE: what became of it.
    Import {
        /// The configuration, such as haproxy.cfg or nginx.conf; `-` is standard input
        file: PathBuf,
        /// Whose configuration it is; by default its content tells
        #[arg(long, value_enum)]
        from: Option<Dialect>,
        /// End with 1 if a directive was left out, or is done only nearly
        #[arg(long)]
        strict: bool,
    },
    /// Have the running process read its configuration again, and wait for the result
    Reload(Flags),
    /// Have the running process drain and end, and wait until it has
    Stop(Flags),
    /// Exit with 0 if the running process is ready for traffic
    Healthcheck(Flags),
    /// Show or change registered clients in the running process
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// Tell what a redirect call or a request would get from the running process, and why
    Explain {
        /// What to explain
        #[command(flatten)]
        arguments: ExplainArguments,
        /// Settings that win over the environment and the file.
        #[command(flatten)]
        flags: Flags,
    },
    /// Show the running process in this terminal: upstreams, backends, rates, once a second
    Top(TopArguments),
    /// Bring the schema of the clients' database to a version
    Migrate {
        /// Where to bring it
        #[arg(value_enum)]
        direction: Direction,
        /// Settings that win over the environment and the file.
        #[command(flatten)]
        flags: Flags,
    },
    /// Run a small HTTP server to put behind the balancer
    Backend(TestBackend),
    /// Print what the configuration file may contain
    #[command(subcommand)]
    Config(Description),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

impl Command {
    /// The flags of the commands that need the configuration.
    fn flags(&mut self) -> Option<&mut Flags> {
        match self {
            Self::Serve(flags)
            | Self::Demo { flags, .. }
            | Self::Check { flags, .. }
            | Self::Explain { flags, .. }
            | Self::Migrate { flags, .. }
            | Self::Reload(flags)
            | Self::Stop(flags)
            | Self::Healthcheck(flags) => Some(flags),
            Self::Clients(command) => Some(command.flags()),
            Self::Top(arguments) => Some(&mut arguments.flags),
            Self::Backend(_)
            | Self::Config(_)
            | Self::Completions { .. }
            | Self::Import { .. }
            | Self::Man => None,
        }
    }
}

/// A description of the configuration file.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Description {
    /// A JSON Schema, for editors
    Schema,
    /// The reference page, in Markdown
    Reference,
}
