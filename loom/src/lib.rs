//! The files of Weir's token buckets, compiled with loom's atomics, and what must hold of them.

#![cfg(loom)]
#![allow(dead_code, reason = "the files hold more than is checked here")]

pub mod limit;
