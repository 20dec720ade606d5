//! Event logs: start, stop, reload, health and faults. Requests are counted, and logged by
//! [`access_log`] where that is wanted.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

pub mod access_log;
mod log_filter;

/// Sends events to standard output: readable on a terminal, JSON otherwise. `filter` is what
/// `RUST_LOG` says (default `info`, and `error` of the `h2` library: what a peer sends must not fill the log),
/// `NO_COLOR` switches colours off. Must be called at most once.
///
/// A thread of its own writes them, so that a reader who stopped reading stops nobody else; what
/// does not fit into its queue is lost. Keep the guard until the end: it writes out what is left.
pub fn init_logging(filter: &str) -> WorkerGuard {
    let filter = log_filter::parse(filter);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(EVENTS_WAITING_MAX)
        .thread_name("weir-log")
        .finish(io::stdout());
    let registry = tracing_subscriber::registry().with(filter.filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if io::stdout().is_terminal() {
        registry.with(layer.with_target(false)).init();
    } else {
        registry.with(layer.json().flatten_event(true)).init();
    }
    if let Some(directive) = filter.bad_directive {
        tracing::warn!(
            directive,
            "RUST_LOG has a directive that names no level; the default level is used"
        );
    }
    guard
}

const EVENTS_WAITING_MAX: usize = 4096;
