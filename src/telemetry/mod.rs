//! Event logs: start, stop, reload and faults. Requests are counted; `access_log` tells of each
//! where an operator asks for it.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

pub mod access_log;

/// Sends events to standard output: readable on a terminal, JSON otherwise. `RUST_LOG` filters
/// (default `info`), `NO_COLOR` switches colours off. Must be called at most once.
pub fn init_logging() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset_or_invalid| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    if io::stdout().is_terminal() {
        registry
            .with(tracing_subscriber::fmt::layer().with_target(false))
            .init();
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true))
            .init();
    }
}
