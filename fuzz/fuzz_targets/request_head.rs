//! `cargo +nightly fuzz run --features libfuzzer request_head`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks/request_head.rs"]
mod check;

fuzz_target!(|bytes: &[u8]| {
    check::request_has_one_reading(bytes);
});
