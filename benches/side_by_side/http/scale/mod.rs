//! What grows with the number of active connections, of routes and of backends.

use std::error::Error;

mod active;
mod growth;
mod steady;

use crate::{open_files, rounds::Pace, selection::RowFilter};

pub fn row_names() -> Vec<String> {
    [active::row_names(), growth::row_names()].concat()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    open_files::allow_connections(active::CONNECTIONS_MAX)?;
    if active::row_names().iter().any(|name| filter.includes(name)) {
        active::run(pace, filter)?;
        println!();
    }
    if growth::row_names().iter().any(|name| filter.includes(name)) {
        growth::run(pace, filter)?;
    }
    Ok(())
}
