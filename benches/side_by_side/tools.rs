//! The programs of others that the comparison runs.

use std::{
    env,
    error::Error,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
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
        .env("PATH", path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The weir binary that is measured: the one that `WEIR` names, else the one that Cargo built.
///
/// # Errors
///
/// If `WEIR` names no file.
pub fn weir() -> Result<PathBuf, Box<dyn Error>> {
    let Some(path) = env::var_os("WEIR") else {
        return Ok(env!("CARGO_BIN_EXE_weir").into());
    };
    // Servers start in folders of their own, so a relative path would lead elsewhere.
    fs::canonicalize(&path).map_err(|error| format!("WEIR={}: {error}", path.display()).into())
}

/// Stops the comparison before it starts if it could not end.
///
/// # Errors
///
/// Names every Debian package that is missing.
pub fn require<'a>(programs: impl Iterator<Item = &'a &'a str>) -> Result<(), Box<dyn Error>> {
    let mut missing: Vec<&str> = programs
        .filter(|program| !is_installed(program))
        .map(|program| package_of(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort_unstable();
    missing.dedup();
    Err(format!("install these Debian packages first: {}", missing.join(" ")).into())
}

fn is_installed(program: &str) -> bool {
    env::split_paths(&path()).any(|folder| Path::new(&folder).join(program).is_file())
}

fn package_of(program: &str) -> &str {
    match program {
        "h2load" => "nghttp2-client",
        "nginx" => "nginx-light",
        "taskset" => "util-linux",
        same_name => same_name,
    }
}

/// Servers are installed where a user's own path does not lead.
fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin");
    path
}
