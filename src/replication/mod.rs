//! PostgreSQL replication, as far as a router must know it: how far a replica is behind (`lag`), and
//! which of several servers that take writes is the primary (`seat`).
//!
//! Pure: the time is an argument. The probes of the control plane bring what the servers say of
//! themselves.

mod lag;
mod seat;

pub use lag::{Positions, Replica};
pub use seat::{Primary, PrimarySeat, Timeline};
