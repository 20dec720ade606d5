//! `weir top`: the statistics of a running process in a terminal, once a second.
//!
//! Reads `/api/v1/stats` of the admin listener and changes nothing. Where the output is no terminal, and
//! with `--once`, it prints one screen and ends.

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use clap::Args;
use http::Method;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
};

use crate::{
    admin_client::{self, AdminError},
    config::Flags,
};

mod stats;
mod view;

use stats::Stats;
use view::Screen;

/// The arguments of `weir top`.
#[derive(Args, Clone, Debug)]
pub struct TopArguments {
    /// Print one screen and end, as where the output is no terminal
    #[arg(long)]
    pub once: bool,
    /// Settings that win over the environment and the file.
    #[command(flatten)]
    pub flags: Flags,
}

/// Shows the process behind an admin listener until the user ends it.
///
/// # Errors
///
/// When there is no process, or the terminal cannot be used.
pub fn run(admin: SocketAddr, once: bool) -> Result<(), TopError> {
    let first = read(admin)?;
    if once || !io::stdout().is_terminal() {
        return print(&first);
    }
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let ended = follow(&mut terminal, admin, first);
    ratatui::restore();
    ended
}

/// Shows one look after the other.
fn follow(
    terminal: &mut ratatui::DefaultTerminal,
    admin: SocketAddr,
    first: Stats,
) -> Result<(), TopError> {
    let mut stats = first;
    let mut rates = Vec::new();
    let mut trouble: Option<String> = None;
    let mut scrolled = 0;
    loop {
        let screen = Screen {
            stats: &stats,
            rates: &rates,
            trouble: trouble.as_deref(),
            scrolled,
        };
        let drawn = terminal.draw(|frame| view::draw(frame, &screen));
        drawn.map_err(TopError::Terminal)?;
        match key()? {
            Some(Key::End) => return Ok(()),
            Some(Key::Up) => scrolled = scrolled.saturating_sub(1),
            Some(Key::Down) => scrolled = (scrolled + 1).min(view::rows(&stats).saturating_sub(1)),
            // A second is over.
            None => match read(admin) {
                Ok(latest) => {
                    rates.push(rate(&latest));
                    let too_many = rates.len().saturating_sub(RATES_MAX);
                    rates.drain(..too_many);
                    (stats, trouble) = (latest, None);
                }
                Err(error) => trouble = Some(error.to_string()),
            },
        }
    }
}

/// What the user wants.
enum Key {
    End,
    Up,
    Down,
}

/// Waits for a key that means something, a second at the longest.
fn key() -> Result<Option<Key>, TopError> {
    if !event::poll(INTERVAL).map_err(TopError::Terminal)? {
        return Ok(None);
    }
    let Event::Key(pressed) = event::read().map_err(TopError::Terminal)? else {
        return Ok(None);
    };
    let is_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    let keys = [
        (Key::End, [KeyCode::Char('q'), KeyCode::Esc]),
        (Key::Up, [KeyCode::Up, KeyCode::Char('k')]),
        (Key::Down, [KeyCode::Down, KeyCode::Char('j')]),
    ];
    if is_control && pressed.code == KeyCode::Char('c') {
        return Ok(Some(Key::End));
    }
    let found = keys
        .into_iter()
        .find(|(_, codes)| codes.contains(&pressed.code));
    Ok(found.map(|(key, _)| key))
}

/// Prints one screen as text, as long as it has to be.
fn print(stats: &Stats) -> Result<(), TopError> {
    let height = u16::try_from(view::rows(stats)).unwrap_or(u16::MAX);
    let backend = TestBackend::new(PRINTED_COLUMNS, height.saturating_add(PRINTED_HEAD));
    let mut terminal = Terminal::new(backend).unwrap_or_else(|never| match never {});
    let screen = Screen {
        stats,
        rates: &[],
        trouble: None,
        scrolled: 0,
    };
    let drawn = terminal.draw(|frame| view::draw(frame, &screen));
    let _drawn = drawn.unwrap_or_else(|never| match never {});
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(PRINTED_COLUMNS));
    let mut text = String::new();
    for row in rows {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(row.trim_end());
        text.push('\n');
    }
    // Without the line about keys.
    let shown = text
        .trim_end()
        .rsplit_once('\n')
        .map_or("", |(shown, _)| shown);
    let printed = writeln!(io::stdout(), "{}", shown.trim_end());
    printed.map_err(TopError::Terminal)
}

fn read(admin: SocketAddr) -> Result<Stats, TopError> {
    let (status, body) = admin_client::call(admin, &Method::GET, "/api/v1/stats", None, None)?;
    if !status.is_success() {
        return Err(AdminError::Status(status).into());
    }
    let stats = serde_json::from_slice(&body);
    stats.map_err(|error| AdminError::Unreadable(error.to_string()).into())
}

/// All that is answered in a second.
fn rate(stats: &Stats) -> u64 {
    let redirect = stats.redirect.as_ref();
    let calls = redirect.map_or(0.0, |redirect| redirect.calls_per_second);
    let upstreams = stats.upstreams.iter();
    let requests: f64 = upstreams.map(|upstream| upstream.requests_per_second).sum();
    (calls + requests) as u64
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The process gives no answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The terminal cannot be read or written.
    #[error("the terminal: {0}")]
    Terminal(#[source] io::Error),
}

const INTERVAL: Duration = Duration::from_secs(1);
/// As wide as a chart can be.
const RATES_MAX: usize = 512;
const PRINTED_COLUMNS: u16 = 160;
/// The lines above the upstreams, and the one below.
const PRINTED_HEAD: u16 = 8;
