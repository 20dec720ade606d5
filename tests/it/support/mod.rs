//! What the tests drive Weir with.

mod app;
mod fake_backend;
mod grpc_client;
mod http2_backend;
mod moody_backend;
mod pairing;
mod process;
mod raw_client;
pub mod raw_http2;
mod recording_backend;
mod steady_client;
mod strict_http1;
mod table;

pub use app::{TestApp, eventually, http1, metric, yaml};
pub use fake_backend::{FakeBackend, Script, ok};
pub use grpc_client::{
    GrpcAnswer, GrpcClient, VIDEO, framed, framed_call, grpc_request, message, read,
};
pub use http2_backend::{Http2Backend, Http2Script, Reply, RequestEnd};
pub use moody_backend::{Mood, MoodyBackend};
pub use pairing::{
    Answer, Ask, Ending, PairedBackend, Pairing, Protocol, SeenAsk, ask, start_balancer,
};
pub use process::{Process, weir};
pub use raw_client::{End, Talk, read_to_end, talk};
pub use recording_backend::{RecordingBackend, Wire};
pub use steady_client::SteadyClient;
pub use table::Table;
