//! Sessions of the TCP load balancer, as one worker carried them.

use crate::state::Counter;

/// Counts that one worker writes and the control plane reads. On cache lines of its own, as each
/// upstream has one for each worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SessionStats {
    /// Sessions that got a backend.
    pub sessions: Counter,
    /// Bytes that came from clients.
    pub received: Counter,
    /// Bytes that came from backends.
    pub sent: Counter,
}
