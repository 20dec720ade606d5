//! Event logs: start, stop, reload, health and faults. Requests are counted, and logged by
//! [`access_log`] where that is wanted.

use std::{
    env, fmt,
    io::{self, IsTerminal},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{EventFormat, EventLog};

pub mod access_log;

/// Sends events to standard output, as `log.format` and `log.level` say. `NO_COLOR` switches colours
/// off. Must be called at most once.
///
/// A thread of its own writes them, so that a reader who stopped reading stops nobody else; what
/// does not fit into its queue is lost. Keep the guard until the end: it writes out what is left.
pub fn init_logging(log: &EventLog) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(EVENTS_WAITING_MAX)
        .thread_name("weir-log")
        .finish(io::stdout());
    let registry = tracing_subscriber::registry().with(filter(&log.level));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let is_terminal = io::stdout().is_terminal();
    let is_text = match log.format {
        EventFormat::Auto => is_terminal,
        EventFormat::Text => true,
        EventFormat::Json => false,
    };
    if is_text {
        let colors = is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let layer = layer
            .with_ansi(colors)
            .with_target(false)
            .with_timer(TimeOfDay);
        registry.with(layer).init();
    } else {
        registry.with(layer.json().flatten_event(true)).init();
    }
    guard
}

/// The filter of a level that was checked; of one that is refused after all, the default one.
fn filter(level: &str) -> EnvFilter {
    let text = match level {
        // `h2` warns of each unsolicited acknowledgement of a PING, which costs a client 17 bytes.
        "" | "info" => "info,h2=error",
        level => level,
    };
    EnvFilter::try_new(text).unwrap_or_else(|_source| EnvFilter::new("info"))
}

/// The time of day in UTC, which is all that somebody at a terminal wants of the time.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since_epoch.map_or(0, |time| time.as_secs()) % 86_400;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(w, "{hours:02}:{minutes:02}:{:02}", seconds % 60)
    }
}

const EVENTS_WAITING_MAX: usize = 4096;
