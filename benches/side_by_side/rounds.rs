//! Several servers in turns, and what becomes of their figures.

use std::{env, error::Error};

/// How long the comparison takes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub rounds: u32,
    pub seconds: u32,
}

impl Pace {
    pub fn from_environment() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            rounds: setting("ROUNDS", 5)?,
            seconds: setting("SECONDS", 3)?,
        })
    }
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Calls or requests a second.
    pub per_second: f64,
    /// CPU time of the server for one of them, in microseconds.
    pub cpu: f64,
}

/// Measures every peer in turns, so that a drift of the machine meets all of them. Returns each
/// peer's figures, by round.
pub fn in_turns<P: Copy, F>(
    rounds: u32,
    peers: &[P],
    mut measure: impl FnMut(P) -> Result<F, Box<dyn Error>>,
) -> Result<Vec<Vec<F>>, Box<dyn Error>> {
    let mut figures: Vec<Vec<F>> = peers.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (&peer, figures) in peers.iter().zip(&mut figures) {
            figures.push(measure(peer)?);
        }
    }
    Ok(figures)
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn setting(name: &str, default: u32) -> Result<u32, Box<dyn Error>> {
    let Ok(text) = env::var(name) else {
        return Ok(default);
    };
    match text.parse()? {
        0 => Err(format!("{name} must not be 0").into()),
        value => Ok(value),
    }
}
