//! The screen of `weir top`: a head with the process and its services, and below it each upstream with its
//! backends.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Sparkline, Table},
};

use crate::{
    numbers::{ago, bytes, millis, short, step_above, whole},
    top::stats::{Backend, CauseCount, Stats, Upstream},
};

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    pub(super) stats: &'a Stats,
    /// Requests, sessions and redirect calls a second, the latest last.
    pub(super) rates: &'a [u64],
    /// Why the numbers are old, if they are.
    pub(super) trouble: Option<&'a str>,
    /// Rows that are scrolled away.
    pub(super) scrolled: usize,
}

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen<'_>) {
    let head = head(screen);
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let [top, table, foot] = Layout::vertical([
        Constraint::Length(height),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [words, chart] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(chart_width(top))]).areas(top);
    frame.render_widget(Paragraph::new(head), words);
    frame.render_widget(
        Sparkline::default()
            .data(latest(screen.rates, chart.width))
            .style(Style::new().fg(Color::Blue)),
        chart,
    );
    frame.render_widget(upstreams(screen), table);
    let keys = Line::from(" q ends   ↑ ↓ scroll").dim();
    let trouble = screen.trouble.map(|trouble| {
        let text = format!(" these numbers are old: {trouble}");
        Line::from(text).style(Style::new().fg(Color::Red).bold())
    });
    frame.render_widget(trouble.unwrap_or(keys), foot);
}

/// The number of rows that scroll.
pub(super) fn rows(stats: &Stats) -> usize {
    let upstreams = stats.upstreams.iter();
    upstreams.map(|upstream| upstream.backends.len() + 1).sum()
}

/// A third of a wide screen, and nothing of a narrow one.
fn chart_width(area: Rect) -> u16 {
    if area.width < 100 {
        return 0;
    }
    area.width / 3
}

fn latest(rates: &[u64], width: u16) -> &[u64] {
    let from = rates.len().saturating_sub(usize::from(width));
    rates.get(from..).unwrap_or_default()
}

fn head(screen: &Screen<'_>) -> Vec<Line<'static>> {
    let stats = screen.stats;
    let process = &stats.process;
    let workers = process.workers.iter();
    let workers: Vec<String> = workers
        .map(|worker| format!("{:.0}", worker.cpu_percent.unwrap_or(0.0)))
        .collect();
    let mut lines = vec![
        Line::from(vec![
            Span::from(format!("Weir {} ", process.version)).bold(),
            Span::styled(process.state.clone(), tone(&process.state)),
            Span::from(format!(
                "  PID {}  up {}  CPU {:.0} % (workers {})  memory {}",
                process.pid,
                ago(process.uptime_seconds),
                process.cpu_percent.unwrap_or(0.0),
                workers.join(" "),
                process.memory_bytes.map_or_else(unknown, bytes),
            )),
        ]),
        Line::from(format!(
            "connections {}  in flight {}  refused by limits {} ({}/s)",
            whole(process.connections),
            whole(process.in_flight),
            whole(stats.rate_limits.refused),
            short(stats.rate_limits.refused_per_second),
        )),
    ];
    if let Some(redirect) = &stats.redirect {
        let share = redirect.origin_share.map(|share| share * 100.0);
        lines.push(Line::from(format!(
            "redirect {}/s  origin {}  p50 {}  p99 {}  calls {}{}",
            short(redirect.calls_per_second),
            share.map_or_else(unknown, |share| format!("{share:.4} %")),
            millis(redirect.p50_ms),
            millis(redirect.p99_ms),
            whole(redirect.calls),
            counted("  refused", &redirect.rejected),
        )));
    }
    let listeners = stats.listeners.iter().map(|listener| {
        let (service, address) = (&listener.service, &listener.address);
        let (open, rate) = (listener.connections, short(listener.accepted_per_second));
        format!("{service} {address} {open} open, {rate}/s")
    });
    let listeners: Vec<String> = listeners.collect();
    lines.push(Line::from(format!("listeners  {}", listeners.join("   "))));
    if !stats.faults.is_empty() {
        lines.push(Line::from(counted("went wrong", &stats.faults)));
    }
    lines.push(Line::default());
    lines
}

/// What is counted by cause; nothing for none.
fn counted(what: &str, counts: &[CauseCount]) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let counts = counts.iter().map(|count| {
        let rate = match count.per_second > 0.0 {
            true => format!(" ({}/s)", short(count.per_second)),
            false => String::new(),
        };
        format!("{} {}{rate}", count.cause, whole(count.count))
    });
    let counts: Vec<String> = counts.collect();
    format!("{what} {}", counts.join(", "))
}

fn upstreams(screen: &Screen<'_>) -> Table<'static> {
    let upstreams = screen.stats.upstreams.iter();
    let rows = upstreams.flat_map(|upstream| {
        let backends = upstream.backends.iter();
        let backends = backends.map(|row| backend(row, screen.stats.at_ms));
        std::iter::once(title(upstream)).chain(backends)
    });
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(16),
        Constraint::Length(8),
        Constraint::Fill(3),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let names = [
        "BACKEND",
        "STATE",
        "FOR",
        "CHECK",
        "WEIGHT",
        "IN FLIGHT",
        "RATE",
        "SHARE",
        "P50",
        "P99",
        "FAILED",
    ];
    Table::new(rows.skip(screen.scrolled), widths)
        .header(Row::new(names).style(Style::new().add_modifier(Modifier::REVERSED)))
}

fn title(upstream: &Upstream) -> Row<'static> {
    let unit = match upstream.kind.as_str() {
        "tcp" => "sessions",
        _ => "requests",
    };
    let total = upstream.backends.len();
    let available = format!("{} of {total} up", upstream.available);
    let traffic = format!(
        "{unit}, {} 5xx/s, in {}/s, out {}/s, queue {}",
        short(upstream.errors_per_second),
        bytes(upstream.received_per_second),
        bytes(upstream.sent_per_second),
        upstream.queue
    );
    let available = match upstream.available {
        0 => Cell::from(available).style(Style::new().fg(Color::Red)),
        _ => Cell::from(available),
    };
    Row::new(vec![
        Cell::from(upstream.name.clone()),
        available,
        Cell::default(),
        Cell::from(traffic),
        Cell::default(),
        Cell::from(whole(upstream.in_flight)),
        Cell::from(short(upstream.requests_per_second)),
    ])
    .style(Style::new().bold())
}

fn backend(backend: &Backend, now_ms: i64) -> Row<'static> {
    let backup = if backend.is_backup { " (backup)" } else { "" };
    let since = backend.since_ms.map(|since| ago((now_ms - since) / 1000));
    let check = match &backend.check {
        None => "no check".to_owned(),
        Some(check) => match &check.failure {
            None => format!("passed within {}", millis(Some(step_above(check.took_ms)))),
            Some(failure) => failure.clone(),
        },
    };
    let share = backend.share.map(|share| format!("{:.0} %", share * 100.0));
    Row::new(vec![
        Cell::from(format!("  {}{backup}", backend.id)),
        Cell::from(backend.condition.replace('_', " ")).style(tone(&backend.condition)),
        Cell::from(since.unwrap_or_default()),
        Cell::from(check),
        Cell::from(backend.weight.to_string()),
        Cell::from(whole(backend.in_flight)),
        Cell::from(short(backend.responses_per_second)),
        Cell::from(share.unwrap_or_else(unknown)),
        Cell::from(millis(backend.p50_ms)),
        Cell::from(millis(backend.p99_ms)),
        Cell::from(whole(backend.failures)),
    ])
}

/// The colour of a state, which its word says as well.
fn tone(state: &str) -> Style {
    let colour = match state {
        "available" | "running" => Color::Green,
        "draining" | "disabled" => Color::DarkGray,
        "ejected" | "starting" => Color::Yellow,
        _ => Color::Red,
    };
    Style::new().fg(colour).bold()
}

fn unknown() -> String {
    "–".to_owned()
}
