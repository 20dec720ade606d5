//! What must hold for any input at all, one file for each kind of input. Each file is used by its
//! fuzz target and by the smoke run; that of the redirect rule also by the property tests of the
//! main package.

pub mod chunked_body;
pub mod config;
pub mod normal_path;
pub mod redirect;
pub mod request_head;
pub mod response_head;
