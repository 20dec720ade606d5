//! Rate limits: whether a request of a client is admitted now. Pure: time is an argument.
//!
//! A [`Quota`] says how much, a [`TokenBucket`] how much of it is used, a [`BucketTable`] holds the
//! buckets of clients that are not registered, a [`ClientTable`] those that are. `data::rate_limit`
//! asks, on worker threads.

mod api_key;
mod bucket_set;
mod bucket_table;
mod caller;
mod client_table;
mod quota;
mod recent_refusals;
mod rule;
mod tick;
mod token_bucket;

pub use api_key::{ApiKey, StoredKey};
pub use bucket_table::{BucketTable, Room};
pub use caller::one_client;
pub use client_table::{Client, ClientTable, Registered, Slot};
pub use quota::{Quota, QuotaFault, Rate};
pub use recent_refusals::RecentRefusals;
pub use rule::{Mode, RouteRule, Rule};
pub use tick::Tick;
pub use token_bucket::{Refusal, TokenBucket};
