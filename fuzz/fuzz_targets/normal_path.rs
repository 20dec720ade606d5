//! `cargo +nightly fuzz run --features libfuzzer normal_path`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks/normal_path.rs"]
mod check;

fuzz_target!(|text: &str| {
    check::path_has_one_normal_form(text);
});
