//! `cargo +nightly fuzz run --features libfuzzer config`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks/config.rs"]
mod check;

fuzz_target!(|text: &str| {
    check::config_has_places_for_its_faults(text);
});
