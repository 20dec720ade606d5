//! The data plane: one worker a core, and nothing that moves between threads on a request's way.
//!
//! A connection is accepted by `listener`, carried by `downstream`, and each request on it is
//! answered by its `service`: by the redirect rule (`redirect`), or by a backend (`exchange`, over
//! `upstream`). Both sides of an exchange are `stream`s. `app` starts the workers; they end when
//! the drain does.

mod answer;
mod connection;
mod context;
mod downstream;
#[cfg(test)]
mod echo;
mod event_budget;
mod exchange;
mod fault;
mod limited;
mod listener;
mod outcome;
mod rate_limit;
pub mod redirect;
mod relay;
mod service;
mod stream;
mod tcp;
#[cfg(test)]
mod testing;
mod timer;
mod upstream;
mod worker;

pub use listener::{Handover, handovers};
pub use worker::Worker;
