//! A real browser without a window.

use std::process::{Command, Stdio};

/// A page as Chromium shows it.
pub struct BrowsedPage {
    /// The document after its scripts ran.
    pub html: String,
    /// What the console said, a line a message.
    pub console: Vec<String>,
}

/// Opens an address and lets the page's scripts run; `None`, after saying so, on a machine without
/// Chromium. Blocks until the browser has ended.
pub fn browse(test: &str, url: &str) -> Option<BrowsedPage> {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args([
            "60",
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            // Containers have little of it.
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--enable-logging=stderr",
            // Passes once nothing is under way any more.
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.code() == Some(NOT_FOUND) {
        assert!(
            std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
            "{test} needs chromium"
        );
        eprintln!("SKIPPED {test}: there is no chromium");
        return None;
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let html = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && !html.is_empty(),
        "chromium failed: {log}"
    );
    let console = log.lines().filter(|line| line.contains(":CONSOLE"));
    Some(BrowsedPage {
        html,
        console: console.map(str::to_owned).collect(),
    })
}

/// What `timeout` ends with if there is no such program.
const NOT_FOUND: i32 = 127;
