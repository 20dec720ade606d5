//! The loads of HTTP/2 from the client, with HTTP/1.1 to the backends.

use std::error::Error;

use crate::{
    h2load::Spread,
    http::{
        backends::Body,
        load::Load,
        peers::Peer,
        speed::{self, Row},
    },
    rounds::Pace,
    selection::RowFilter,
};

pub fn row_names() -> Vec<String> {
    ROWS.iter().map(|row| row.name.to_owned()).collect()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    let title = "HTTP/2 from the client, HTTP/1.1 to the backends";
    speed::run(title, &ROWS, pace, filter)
}

const fn h2load(
    name: &'static str,
    (connections, streams): (u32, u32),
    body: Body,
    peers: &'static [Peer],
) -> Row {
    let spread = Spread::new(connections, streams);
    Row {
        name,
        load: Load::Http2 { spread, body },
        peers,
    }
}

/// Caddy is in one row only: it costs several times as much as the others, which one row shows.
const ROWS: [Row; 5] = [
    h2load(
        "90 B, HTTP/2, 1 × 50",
        (1, 50),
        Body::Small,
        &Peer::RIVALS_AND_WEIR,
    ),
    h2load(
        "90 B, HTTP/2, 10 × 10",
        (10, 10),
        Body::Small,
        &[Peer::Nginx, Peer::Haproxy, Peer::Caddy, Peer::Weir],
    ),
    h2load(
        "90 B, HTTP/2, 10 × 100",
        (10, 100),
        Body::Small,
        &Peer::RIVALS_AND_WEIR,
    ),
    h2load(
        "90 B, HTTP/2, 50 × 10",
        (50, 10),
        Body::Small,
        &Peer::RIVALS_AND_WEIR,
    ),
    h2load(
        "64 KiB, HTTP/2, 10 × 10",
        (10, 10),
        Body::Page,
        &Peer::RIVALS_AND_WEIR,
    ),
];
