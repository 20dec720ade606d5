//! What the operator limits.

use std::num::NonZeroU32;

use crate::limit::Quota;

/// A limit for each client, on a listener, on a route or everywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// What each client may do.
    pub quota: Quota,
    /// What follows when a client does more.
    pub mode: Mode,
}

/// What follows when a client makes more requests than it may.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// They are refused.
    #[default]
    Enforce,
    /// They are counted and logged, and go on.
    Shadow,
}

/// What a route says of limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteRule {
    /// Its requests are not limited, and take no tokens.
    Exempt,
    /// Its requests are limited.
    Limited {
        /// By a limit of the route, beside the others.
        own: Option<Rule>,
        /// Tokens that a request takes from each bucket.
        cost: NonZeroU32,
    },
}

impl Default for RouteRule {
    fn default() -> Self {
        Self::Limited {
            own: None,
            cost: NonZeroU32::MIN,
        }
    }
}
