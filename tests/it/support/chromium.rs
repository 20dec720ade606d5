//! A real browser without a window.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
};

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
    let output = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--enable-logging=stderr",
            // Passes once nothing is under way any more.
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(
                std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{test} needs chromium"
            );
            eprintln!("SKIPPED {test}: there is no chromium");
            return None;
        }
        Err(error) => panic!("chromium: {error}"),
    };
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
