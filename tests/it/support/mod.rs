//! What the tests drive Weir with.

mod admin;
mod app;
mod chromium;
mod driver;
mod fake_backend;
mod gate;
mod grpc_client;
mod http2_backend;
mod kept_client;
mod link;
pub mod logged;
mod mariadb;
mod moody_backend;
mod pairing;
mod pgbouncer;
mod postgres;
mod process;
mod raw_client;
pub mod raw_http2;
mod recording_backend;
mod redis;
mod steady_client;
mod strict_http1;
mod table;
mod tls_front;

pub use self::redis::Redis;
pub use admin::{AdminAnswer, JSON, admin};
pub use app::{TestApp, error_message, eventually, http1, metric, yaml};
pub use chromium::{BrowsedPage, browse};
pub use driver::Browser;
pub use fake_backend::{FakeBackend, Script, ok};
pub use gate::gated;
pub use grpc_client::{
    GrpcAnswer, GrpcClient, VIDEO, framed, framed_call, grpc_request, message, read,
};
pub use http2_backend::{Http2Backend, Http2Script, Reply, RequestEnd, SeenRequest};
pub use kept_client::{KeptAnswer, KeptClient, get};
pub use link::Link;
pub use mariadb::MariaDb;
pub use moody_backend::{Mood, MoodyBackend};
pub use pairing::{
    Answer, Ask, Ending, PairedBackend, Pairing, Protocol, SeenAsk, ask, start_balancer,
};
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use process::{Process, weir};
pub use raw_client::{End, Talk, read_to_end, talk};
pub use recording_backend::{RecordingBackend, Wire};
pub use steady_client::SteadyClient;
pub use table::Table;
pub use tls_front::{Authority, Identity, TlsFront};
