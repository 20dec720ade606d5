//! The loads of HTTP/1.1.

use std::error::Error;

use crate::{
    http::{
        backends::Body,
        peers::Peer,
        speed::{self, Row},
        wrk::KeepAlive,
    },
    rounds::Pace,
    selection::RowFilter,
};

pub fn row_names() -> Vec<String> {
    ROWS.iter().map(|row| row.name.to_owned()).collect()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    speed::run("HTTP/1.1", &ROWS, pace, filter)
}

const fn wrk(name: &'static str, connections: u32, body: Body, keep_alive: KeepAlive) -> Row {
    Row::of_http1(name, connections, body, keep_alive, &Peer::ALL)
}

const ROWS: [Row; 5] = [
    wrk("90 B, 16 connections", 16, Body::Small, KeepAlive::Yes),
    wrk("90 B, 64 connections", 64, Body::Small, KeepAlive::Yes),
    wrk("64 KiB, 16 connections", 16, Body::Page, KeepAlive::Yes),
    wrk("10 MB, 4 connections", 4, Body::Video, KeepAlive::Yes),
    wrk("90 B, Connection: close", 16, Body::Small, KeepAlive::No),
];
