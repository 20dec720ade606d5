//! Paths that have a route each. `wrk.lua` and `backend.conf` spell them the same way.

/// The prefix of the paths of one service.
pub fn prefix(index: u32) -> String {
    format!("/service-{index:04}")
}
