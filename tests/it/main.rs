//! Integration tests: real sockets, the real application, one binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test that cannot go on should panic, and helpers are public to the modules beside them"
)]

mod access_log;
mod access_log_lines;
mod backend_connections;
mod balancer;
mod balancer_limits;
mod broken_responses;
mod cli;
mod connections;
mod consistent_hash;
mod control_plane;
mod differential;
mod drain;
mod early_answers;
mod ejection;
mod exactness;
mod faithful_heads;
mod grpc;
mod h2_backends;
mod health_checks;
mod hostile_backends;
mod http1_framing;
mod http1_hosts;
mod http1_requests;
mod http2_clients;
mod http2_floods;
mod http2_requests;
mod http2_scripts;
mod http_face;
mod http_headers;
mod late_ends;
mod layering;
mod limits;
mod names;
mod open_redirect;
mod parking;
mod queueing;
mod quiet_exchanges;
mod reload;
mod reload_health;
mod reload_upstreams;
mod reload_watched;
mod round_robin;
mod routes;
mod slow_readers;
mod stuck_reader;
mod support;
mod tls_backends;
mod upgrades;
