//! Integration tests: real sockets, the real application, one binary.

mod cli;
mod connections;
mod differential;
mod drain;
mod exactness;
mod grpc;
mod http_face;
mod layering;
mod open_redirect;
mod reload;
mod support;
