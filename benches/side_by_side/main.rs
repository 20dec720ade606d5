//! Weir beside its peers in one run: what each server does a second, and what that costs it.
//!
//! `cargo bench --bench side_by_side` starts each server pinned to one core and the load generator
//! pinned to another, in turns, and prints a table for each part. CPU time per call is what to
//! compare: it does not depend on how fast the load generator is, nor much on who else uses the
//! machine. Needs Linux, two cores and some of Debian's packages; it says which are missing.
//!
//! Words after `--` choose: `redirect`, `http1`, `http2`, `limits`, `scale` and `idle` are parts,
//! `http` is both of its versions; any other word chooses the rows that have it in their name. `ROUNDS`
//! (default 5) and `SECONDS` (default 3) set how long it takes. `WEIR=/path/to/weir` measures that
//! binary in place of the one that Cargo built.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a benchmark that cannot go on should stop"
)]

use std::{env, error::Error, process::ExitCode};

mod h2load;
mod http;
mod open_files;
mod part;
mod redirect;
mod rounds;
mod selection;
mod server;
mod tools;

use redirect::{floor, stock_tonic};
use rounds::Pace;
use selection::Selection;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // A peer that lives in this file's executable is started by naming it.
    match env::args().nth(1).as_deref() {
        Some("serve-floor") => return floor::serve(),
        Some("serve-stock-tonic") => return stock_tonic::serve(),
        _ => {}
    }
    // Cargo itself passes `--bench`.
    let words = env::args().skip(1).filter(|word| !word.starts_with('-'));
    let selection = Selection::from_words(words)?;
    tools::require(selection.parts.iter().flat_map(|part| part.tools()))?;
    let pace = Pace::from_environment()?;
    println!("Weir is {}\n", tools::weir()?.display());
    for part in &selection.parts {
        part.run(pace, &selection.rows)?;
        println!();
    }
    Ok(())
}
