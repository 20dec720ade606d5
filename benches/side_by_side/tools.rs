//! The programs of others that the comparison runs.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

/// Where the server under test runs, and nothing else.
pub const SERVER_CORE: &str = "0";
/// Where the load generator and the backends run.
pub const LOAD_CORE: &str = "1";

/// A command that will run on that core alone, without input or output but its errors.
pub fn pinned(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", core])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}
