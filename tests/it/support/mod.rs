//! What the tests drive Weir with.

mod app;
mod fake_backend;
mod grpc_client;
mod process;

pub use app::{TestApp, eventually, http1, metric};
pub use fake_backend::{FakeBackend, Script, ok};
pub use grpc_client::{
    GrpcAnswer, GrpcClient, VIDEO, framed, framed_call, grpc_request, message, read,
};
pub use process::{Process, weir};
