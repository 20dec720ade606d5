//! The head of a message, whichever version of HTTP it came in. Pure.
//!
//! Routing, forwarding headers, hop-by-hop rules and logging are written once, against these
//! types. Values are bytes: nothing on a request's path needs them to be text (RFC 9110 section
//! 5.5 allows bytes above 0x7F). Does not know how a head travels: `http1` reads and writes
//! HTTP/1.1, `data::stream` speaks HTTP/2.

mod fields;
mod forwarded;
mod framing;
mod grpc_messages;
mod host;
mod keep_alive;
mod kind;
mod request_head;
mod response_head;
mod target;
mod tokens;
mod trailers;

pub use fields::{Field, Fields};
pub use forwarded::{client_address, forwarded_chain, is_trusted};
pub use framing::{Framing, FramingFault, request_framing, response_framing};
pub use grpc_messages::{GrpcMessages, MessageTooLong};
pub use host::{HostFault, host_of, is_host};
pub use keep_alive::keep_alive_timeout;
pub use kind::Kind;
pub use request_head::RequestHead;
pub use response_head::ResponseHead;
pub use target::{Target, TargetFault, parse_target};
pub use tokens::tokens;
pub use trailers::{Towards, allowed_trailers};
