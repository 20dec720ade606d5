//! The generated gRPC types of `proto/loadbalancer.proto`.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated code"
)]

tonic::include_proto!("load_balancer");

/// The encoded descriptor, for reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/loadbalancer.bin"));

/// The full name of the service.
pub const SERVICE: &str = "loadBalancer.loadBalancer";

/// The path of the one method.
pub const REDIRECT_PATH: &str = "/loadBalancer.loadBalancer/Redirect";
