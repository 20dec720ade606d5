//! Weir beside its peers in one run: what each server does a second, and what that costs it.
//!
//! `cargo bench --bench side_by_side` starts each server pinned to one core and the load generator
//! pinned to another, in turns, and prints a table for each part. CPU time per call is what to
//! compare: it does not depend on how fast the load generator is, nor much on who else uses the
//! machine. Needs Linux, two cores and some of Debian's packages; it says which are missing.
//!
//! Words after `--` choose the parts: `redirect` and `http` compare speed, `memory` idle
//! connections. Any other word chooses the rows of `http` that have it in their name. `ROUNDS`
//! (default 5) and `SECONDS` (default 3) set how long it takes.

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
mod redirect;
mod rounds;
mod server;
mod tools;

use self::http::idle_memory;
use redirect::{floor, stock_tonic};
use rounds::Pace;

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
    let (parts, rows): (Vec<String>, Vec<String>) =
        words.partition(|word| Part::ALL.iter().any(|part| part.name() == word));
    let parts = Part::chosen(&parts, &rows);
    tools::require(parts.iter().flat_map(|part| part.tools()))?;
    let pace = Pace::from_environment()?;
    for part in parts {
        match part {
            Part::Redirect => redirect::run(pace)?,
            Part::Http => http::run(pace, &rows)?,
            Part::Memory => idle_memory::run(pace)?,
        }
        println!();
    }
    Ok(())
}

/// What can be asked for by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Redirect,
    Http,
    Memory,
}

impl Part {
    const ALL: [Self; 3] = [Self::Redirect, Self::Http, Self::Memory];

    /// Those that are named; `http` if only rows are; else all.
    fn chosen(names: &[String], rows: &[String]) -> Vec<Self> {
        if names.is_empty() && !rows.is_empty() {
            return vec![Self::Http];
        }
        let is_chosen = |part: &Self| names.is_empty() || names.iter().any(|n| n == part.name());
        Self::ALL.into_iter().filter(is_chosen).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Http => "http",
            Self::Memory => "memory",
        }
    }

    /// The programs that it runs.
    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Redirect => &["taskset", "h2load"],
            Self::Http => &["taskset", "h2load", "wrk", "nginx", "haproxy", "caddy"],
            Self::Memory => &["taskset", "nginx", "haproxy", "caddy"],
        }
    }
}
