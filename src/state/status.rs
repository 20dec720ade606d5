//! What runs, for the commands that ask a running process.

use std::{fs, process, time::Duration};

use serde::{Deserialize, Serialize};

/// What the admin listener's `/status` answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// The version that runs.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// The namespace that `pid` belongs to; `None` where there are none. A PID means another process
    /// in another container.
    pub pid_namespace: Option<String>,
    /// Whether the process is stopping.
    pub is_stopping: bool,
    /// The longest that a stop takes, in seconds.
    pub stop_seconds_max: u64,
    /// Reloads that were published.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// Why the last reload was refused, if it was.
    pub reload_error: Option<String>,
}

impl Status {
    /// The part that never changes.
    pub fn of_this_process(stop_time_max: Duration) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            pid_namespace: pid_namespace(),
            is_stopping: false,
            stop_seconds_max: stop_time_max.as_secs(),
            reloads: 0,
            reloads_refused: 0,
            reload_error: None,
        }
    }

    /// Whether the process can be named by its PID from here.
    pub fn is_in_this_namespace(&self) -> bool {
        self.pid_namespace == pid_namespace()
    }
}

/// Linux names a namespace by its inode, which is the same on each machine for the first one: the
/// boot's identifier tells machines apart.
fn pid_namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{} {}", link.display(), boot.trim()))
}
