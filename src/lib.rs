//! Weir, a video traffic router.
//!
//! The modules in reading order, from the pure core to the process. Each may use only those
//! above it, and the two planes never use each other (`tests/it/layering.rs` checks that).

pub mod message;
pub mod numbers;

pub mod http1;

pub mod header_rules;
pub mod limit;

pub mod balance;
pub mod ejection;
pub mod health;
pub mod redirect;
pub mod replication;
pub mod retry;
pub mod route;

pub mod config;

pub mod fleet;
pub mod state;
pub mod store;

pub mod listener;
pub mod net;
pub mod proto;
pub mod shutdown;
pub mod telemetry;

pub mod data;

pub mod control;

pub mod admin_client;
pub mod app;
pub mod backend;
pub mod check;
pub mod import;
pub mod migrate;

pub mod api_commands;
pub mod demo;
pub mod operate;
pub mod top;

pub mod cli;
