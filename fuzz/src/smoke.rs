//! The fuzz targets' checks on mutated seeds, on a stable compiler and for a bounded time.
//!
//! `cargo run --release --manifest-path fuzz/Cargo.toml --bin smoke -- [MUTATIONS]`. Every run
//! takes the same path: the generator is seeded.

use std::env;

mod checks;

/// Video URLs that reach every branch of the reader, good and bad.
const SEEDS: &[&str] = &[
    "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8",
    "https://S1.Origin-Cluster:8443/a/../%2e%2e//b?x=http://evil/#?@good",
    "http://a.b.example.com/x",
    "http://a.example.com/x",
    "http://good@evil/",
    "http://good:80@evil/",
    "http://evil\\@good/",
    "https://:@evil\\@good",
    "//evil/x",
    "http:/evil",
    "https:///evil",
    "http://good%2eevil/",
    "http://evil\u{3002}com/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://[::ffff:127.0.0.1]/",
    "http://s1.xn--bcher-kva/x",
    "http://s1.xn--a/x",
    "http://s1.origin-cluster:0/",
    "http://s1.origin-cluster:80:80/",
    "http://s1.origin-cluster./x",
    "javascript:alert(1)",
];

/// What mutations put in: bytes and words that URL parsers treat differently.
const WORDS: &[&str] = &[
    "@",
    "\\",
    "/",
    "//",
    ":",
    "?",
    "#",
    ".",
    "..",
    "%",
    "%2f",
    "%00",
    "[",
    "]",
    "xn--",
    "0x",
    "1",
    "65535",
    "-",
    "_",
    "*",
    "\t",
    "\n",
    " ",
    "\0",
    "\u{e9}",
    "\u{ff0e}",
    "origin-cluster",
    "example.com",
    "http://",
    "https://",
    "s1",
    "S1",
];

fn main() {
    let mutations: u32 = env::args()
        .nth(1)
        .map_or(2_000_000, |text| text.parse().expect("a number"));
    let mut random = fastrand::Rng::with_seed(0x57E1);
    let mut accepted = 0;
    for seed in SEEDS {
        accepted += checks::redirect_is_never_open(seed);
    }
    for _ in 0..mutations {
        let mut video = random.choice(SEEDS).copied().unwrap_or_default().to_owned();
        for _ in 0..random.u8(1..6) {
            mutate(&mut video, &mut random);
        }
        accepted += checks::redirect_is_never_open(&video);
    }
    // A run that accepts nothing checks nothing.
    assert!(
        accepted > mutations as usize / 100,
        "only {accepted} were accepted"
    );
    println!("{mutations} mutations, {accepted} accepted, none led astray");
}

fn mutate(video: &mut String, random: &mut fastrand::Rng) {
    let boundary = |random: &mut fastrand::Rng, video: &str| {
        let mut at = random.usize(0..=video.len());
        while !video.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary(random, video);
    match random.u8(0..4) {
        0 => video.insert_str(from, random.choice(WORDS).copied().unwrap_or_default()),
        1 => video.truncate(from),
        2 => {
            let until = boundary(random, video).max(from);
            video.replace_range(from..until, "");
        }
        _ => {
            let until = boundary(random, video).max(from);
            let part = video[from..until].to_owned();
            video.push_str(&part);
        }
    }
}
