//! `cargo +nightly fuzz run --features libfuzzer response_head`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks/response_head.rs"]
mod check;

fuzz_target!(|bytes: &[u8]| {
    check::response_has_one_reading(bytes);
});
