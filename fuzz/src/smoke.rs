//! The fuzz targets' checks on mutated seeds, on a stable compiler and for a bounded time.
//!
//! `cargo run --release --manifest-path fuzz/Cargo.toml --bin smoke -- [MUTATIONS]`. Every run
//! takes the same path: the generator is seeded.

use std::env;

mod checks;
mod seeds;

/// A check, and what its inputs are made of.
struct Smoke {
    name: &'static str,
    seeds: &'static [&'static str],
    words: &'static [&'static str],
    /// Returns how many readers accepted the input.
    check: fn(&[u8]) -> usize,
    /// How much longer it takes than the fastest, so that all take about as long.
    cost: u32,
}

const SMOKES: &[Smoke] = &[
    Smoke {
        name: "video URLs",
        seeds: seeds::VIDEO_URLS,
        words: seeds::URL_WORDS,
        check: |bytes| checks::redirect::redirect_is_never_open(&String::from_utf8_lossy(bytes)),
        cost: 1,
    },
    Smoke {
        name: "request heads",
        seeds: seeds::REQUESTS,
        words: seeds::HTTP_WORDS,
        check: |bytes| checks::request_head::request_has_one_reading(bytes).into(),
        cost: 1,
    },
    Smoke {
        name: "response heads",
        seeds: seeds::RESPONSES,
        words: seeds::HTTP_WORDS,
        check: |bytes| checks::response_head::response_has_one_reading(bytes).into(),
        cost: 1,
    },
    Smoke {
        name: "chunked bodies",
        seeds: seeds::CHUNKED_BODIES,
        words: seeds::HTTP_WORDS,
        check: |bytes| checks::chunked_body::body_has_one_reading(bytes).into(),
        cost: 1,
    },
    Smoke {
        name: "paths",
        seeds: seeds::PATHS,
        words: seeds::URL_WORDS,
        check: |bytes| {
            checks::normal_path::path_has_one_normal_form(&String::from_utf8_lossy(bytes)).into()
        },
        cost: 1,
    },
    Smoke {
        name: "configurations",
        seeds: seeds::CONFIGS,
        words: seeds::YAML_WORDS,
        check: |bytes| {
            checks::config::config_has_places_for_its_faults(&String::from_utf8_lossy(bytes)).into()
        },
        cost: 30,
    },
];

fn main() {
    let mutations: u32 = env::args()
        .nth(1)
        .map_or(1_500_000, |text| text.parse().expect("a number"));
    for smoke in SMOKES {
        smoke.run(mutations / smoke.cost);
    }
}

impl Smoke {
    fn run(&self, mutations: u32) {
        let mut random = fastrand::Rng::with_seed(0x57E1);
        let seeds = self.seeds.iter().map(|seed| (self.check)(seed.as_bytes()));
        let mut accepted: usize = seeds.sum();
        for _ in 0..mutations {
            let seed = random.choice(self.seeds).copied().unwrap_or_default();
            let mut input = seed.as_bytes().to_vec();
            for _ in 0..random.u8(1..6) {
                self.mutate(&mut input, &mut random);
            }
            accepted += (self.check)(&input);
        }
        // A run that accepts nothing checks nothing.
        assert!(
            accepted > mutations as usize / 100,
            "only {accepted} {} were accepted",
            self.name
        );
        println!("{}: {mutations} mutations, {accepted} accepted", self.name);
    }

    fn mutate(&self, input: &mut Vec<u8>, random: &mut fastrand::Rng) {
        let from = random.usize(0..=input.len());
        let until = random.usize(from..=input.len());
        match random.u8(0..5) {
            0 => {
                let word = random.choice(self.words).copied().unwrap_or_default();
                input.splice(from..from, word.bytes());
            }
            1 => input.truncate(from),
            2 => drop(input.drain(from..until)),
            3 => {
                let part = input[from..until].to_vec();
                input.extend_from_slice(&part);
            }
            _ => {
                if let Some(byte) = input.get_mut(from) {
                    *byte = random.u8(..);
                }
            }
        }
    }
}
