//! Listening sockets: accepts connections, and gives each to the worker that should serve it.
//! Knows no service by name.

mod accept;
mod placement;

pub(in crate::data) use accept::{Acceptor, receive, run};
pub(in crate::data) use placement::HandoverSender;
pub use placement::{Handover, handovers};
