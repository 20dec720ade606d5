//! `cargo +nightly fuzz run --features libfuzzer redirect`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/checks/redirect.rs"]
mod check;

fuzz_target!(|video: &str| {
    check::redirect_is_never_open(video);
});
