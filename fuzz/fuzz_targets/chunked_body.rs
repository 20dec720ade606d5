//! `cargo +nightly fuzz run --features libfuzzer chunked_body`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks/chunked_body.rs"]
mod check;

fuzz_target!(|bytes: &[u8]| {
    check::body_has_one_reading(bytes);
});
