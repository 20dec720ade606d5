//! Weir beside its peers in one run: what each server does a second, and what that costs it.
//!
//! `cargo bench --bench side_by_side` starts each server pinned to one core and the load generator
//! pinned to another, in turns, and prints a table. CPU time per call is what to
//! compare: it does not depend on how fast the load generator is, nor much on who else uses the
//! machine. Needs Linux, two cores, `taskset` and `h2load` (Debian: nghttp2-client).
//!
//! `ROUNDS` (default 5) and `SECONDS` (default 3) set how long it takes.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a benchmark that cannot go on should stop"
)]

use std::{env, error::Error};

mod h2load;
mod redirect;
mod rounds;
mod server;
mod tools;

use redirect::{floor, stock_tonic};
use rounds::Pace;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    // A peer that lives in this file's executable is started by naming it.
    match env::args().nth(1).as_deref() {
        Some("serve-floor") => return floor::serve(),
        Some("serve-stock-tonic") => return stock_tonic::serve(),
        _ => {}
    }
    redirect::run(Pace::from_environment()?)
}
