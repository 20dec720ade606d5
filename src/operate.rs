//! `weir reload` and `weir stop`: finds the running process by its admin listener, sends it a signal
//! and waits for what comes of it.
//!
//! A signal needs no token of the admin API: the operating system says who may send it.

use std::{fs, io, net::SocketAddr, thread, time::Duration};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{
    admin_client::{self, AdminError},
    state::Status,
};

/// Asks the running process to read its configuration again, and waits until it has.
///
/// # Errors
///
/// Why there is no process to ask, or why it refused its configuration.
pub fn reload(admin: SocketAddr) -> Result<(), OperateError> {
    let (before, pid) = find(admin)?;
    signal(pid, Signal::HUP)?;
    let outcome = poll(RELOAD_TIME_MAX, || {
        let now = match admin_client::status(admin) {
            Ok(now) => now,
            Err(gone) => return Some(Err(OperateError::Gone(gone))),
        };
        if now.reloads_refused > before.reloads_refused {
            return Some(Err(OperateError::Refused(
                now.reload_error.unwrap_or_default(),
            )));
        }
        (now.reloads > before.reloads).then_some(Ok(()))
    });
    outcome.unwrap_or(Err(OperateError::NoEnd(RELOAD_TIME_MAX)))
}

/// Asks the running process to drain and end, and waits until it has.
///
/// # Errors
///
/// Why there is no process to ask, or that it has not ended in the time that its drain may take.
pub fn stop(admin: SocketAddr) -> Result<(), OperateError> {
    let (status, pid) = find(admin)?;
    if !status.is_stopping {
        // A second signal would end it at once.
        signal(pid, Signal::TERM)?;
    }
    let time_max = Duration::from_secs(status.stop_seconds_max).min(STOP_TIME_MAX) + STOP_TIME_MORE;
    let ended = poll(time_max, || has_ended(pid).then_some(()));
    ended.ok_or(OperateError::NoEnd(time_max))
}

/// Calls `look` until it has found something.
fn poll<T>(time_max: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let polls = time_max.as_millis() / POLL_INTERVAL.as_millis();
    for _ in 0..polls {
        if let Some(found) = look() {
            return Some(found);
        }
        thread::sleep(POLL_INTERVAL);
    }
    None
}

/// Whether there is no such process, or only what its parent has not yet asked for (a zombie).
fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The state stands behind the name, which is in parentheses and may contain some.
    let is_zombie = stat.is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    });
    is_zombie || test_kill_process(pid) == Err(Errno::SRCH)
}

fn find(admin: SocketAddr) -> Result<(Status, Pid), OperateError> {
    let status =
        admin_client::status(admin).map_err(|source| OperateError::NotRunning { admin, source })?;
    if !status.is_in_this_namespace() {
        return Err(OperateError::OtherNamespace);
    }
    let pid = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
    let pid = pid.filter(|&pid| has_our_name(pid));
    pid.map(|pid| (status, pid))
        .ok_or(OperateError::NotWeir { admin })
}

/// Whether the process has the name of this one. Another program that answers on the admin address
/// must not choose which process gets a signal. Where there is no `/proc`, that cannot be told.
fn has_our_name(pid: Pid) -> bool {
    let name = |process: &str| fs::read(format!("/proc/{process}/comm"));
    match (name("self"), name(&pid.as_raw_nonzero().to_string())) {
        (Ok(own), Ok(other)) => own == other,
        (Ok(_), Err(_)) => false,
        (Err(_), _) => true,
    }
}

fn signal(pid: Pid, signal: Signal) -> Result<(), OperateError> {
    kill_process(pid, signal).map_err(|error| OperateError::Signal {
        pid: pid.as_raw_nonzero().get(),
        source: error.into(),
    })
}

/// Why a running process did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Nobody answers on the admin listener.
    #[error("no running process at the admin address {admin}: {source}")]
    NotRunning {
        /// Where it was looked for.
        admin: SocketAddr,
        /// What happened.
        source: AdminError,
    },
    /// It answered before, and now it does not.
    #[error("the process stopped answering: {0}")]
    Gone(#[from] AdminError),
    /// It runs in another container.
    #[error(
        "the process runs in another container; run this command in it, or send it the signal with the container engine"
    )]
    OtherNamespace,
    /// The admin address is another program's.
    #[error("what answers at the admin address {admin} is no Weir")]
    NotWeir {
        /// Where it was looked for.
        admin: SocketAddr,
    },
    /// The operating system refuses.
    #[error("cannot send a signal to process {pid}: {source}")]
    Signal {
        /// The process.
        pid: i32,
        /// The reason.
        source: io::Error,
    },
    /// Its new configuration is bad.
    #[error("reload refused, the old configuration keeps serving\n{0}")]
    Refused(String),
    /// It takes longer than it may.
    #[error("not done within {0:?}; see its log")]
    NoEnd(Duration),
}

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Above the longest that reading a configuration may take.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(15);
/// The longest lame-duck time and drain that can be configured.
const STOP_TIME_MAX: Duration = Duration::from_secs(86_400 + 600);
/// For what comes after a drain.
const STOP_TIME_MORE: Duration = Duration::from_secs(5);
