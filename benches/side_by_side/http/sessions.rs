//! The loads of the TCP load balancer: HTTP/1.1, which none of the servers reads.

use std::error::Error;

use crate::{
    http::{
        backends::Body,
        idle_memory,
        peers::Peer,
        speed::{self, Row},
        wrk::KeepAlive,
    },
    rounds::Pace,
    selection::RowFilter,
};

pub fn row_names() -> Vec<String> {
    let speed = ROWS.iter().map(|row| row.name.to_owned());
    speed.chain([MEMORY.to_owned()]).collect()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    speed::run("TCP", &ROWS, pace, filter)?;
    if filter.includes(MEMORY) {
        println!();
        idle_memory::run_for(MEMORY, &Peer::RELAYS, pace)?;
    }
    Ok(())
}

const fn wrk(name: &'static str, connections: u32, body: Body, keep_alive: KeepAlive) -> Row {
    Row::of_http1(name, connections, body, keep_alive, &Peer::RELAYS)
}

const ROWS: [Row; 4] = [
    wrk("TCP, 90 B, 64 connections", 64, Body::Small, KeepAlive::Yes),
    wrk(
        "TCP, 64 KiB, 16 connections",
        16,
        Body::Page,
        KeepAlive::Yes,
    ),
    wrk("TCP, 10 MB, 4 connections", 4, Body::Video, KeepAlive::Yes),
    wrk(
        "TCP, 90 B, a connection each",
        16,
        Body::Small,
        KeepAlive::No,
    ),
];
const MEMORY: &str = "TCP, idle sessions";
