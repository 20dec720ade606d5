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
mod admin;
mod admin_api;
mod admin_backends;
mod admin_in_browser;
mod api_commands;
mod backend_connections;
mod balancer;
mod balancer_limits;
mod body_limits;
mod broken_responses;
mod cli;
mod connections;
mod consistent_hash;
mod control_plane;
mod cut_responses;
mod cut_uploads;
mod differential;
mod documents;
mod drain;
mod early_answers;
mod ejection;
mod exactness;
mod expectations;
mod explain;
mod failed_requests;
mod faithful_heads;
mod faithful_values;
mod first_checks;
mod fleet;
mod fleet_outages;
mod fleet_script;
mod grpc;
mod grpc_compression;
mod h2_backends;
mod half_closes;
mod head_limits;
mod health_checks;
mod hostile_backends;
mod http10;
mod http1_framing;
mod http1_hosts;
mod http1_requests;
mod http2_clients;
mod http2_floods;
mod http2_requests;
mod http2_scripts;
mod http_face;
mod http_headers;
mod import;
mod late_ends;
mod layering;
mod limits;
mod names;
mod nginx_ring;
mod open_redirect;
mod orderly_ends;
mod out_of_files;
mod own_listener;
mod parking;
mod poolers;
mod postgres_roles;
mod purposeless_frames;
mod queue_retries;
mod queueing;
mod quiet_exchanges;
mod rate_limits;
mod redirect_listener;
mod registered_clients;
mod reload;
mod reload_health;
mod reload_settings;
mod reload_upstreams;
mod reload_watched;
mod round_robin;
mod routes;
mod server_checks;
mod shared_connections;
mod slow_readers;
mod stats_page;
mod store;
mod stuck_reader;
mod support;
mod tcp;
mod tcp_addresses;
mod tls_backends;
mod top;
mod upgrades;
mod whole_server;
