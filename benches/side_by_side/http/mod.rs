//! The HTTP load balancer beside others: what a request costs, what a connection holds, and how
//! both grow with the configuration.

mod backends;
mod comparison;
pub mod http1;
pub mod http2;
mod idle_clients;
pub mod idle_memory;
pub mod limits;
mod load;
mod peers;
pub mod scale;
mod services;
pub mod sessions;
mod setup;
mod speed;
mod work_folder;
mod wrk;
