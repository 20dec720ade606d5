//! `cargo +nightly fuzz run --features libfuzzer redirect`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks.rs"]
mod checks;

fuzz_target!(|video: &str| {
    checks::redirect_is_never_open(video);
});
