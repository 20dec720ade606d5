//! How a client is told that it makes more requests than it may: the one place that writes these
//! headers and details.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    limit::{Quota, Refusal},
    message::{Fields, Kind},
    state::Scope,
};

/// A request that a limit refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("rate limit exceeded")]
pub(in crate::data) struct Limited {
    pub(in crate::data) scope: Scope,
    pub(in crate::data) quota: Quota,
    pub(in crate::data) refusal: Refusal,
}

impl Limited {
    /// Writes the headers of a 429: `Retry-After` (RFC 9110 section 10.2.3), and `RateLimit` and
    /// `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-10 has them. All times are whole
    /// seconds, rounded up, so that a client which obeys is admitted at its first attempt.
    pub(in crate::data) fn write(&self, fields: &mut Fields) {
        let name = self.scope.label();
        let after = whole_seconds(self.refusal.retry_after).to_string();
        let remaining = self.refusal.remaining;
        let limit = format!("\"{name}\";r={remaining};t={after}");
        let (capacity, window) = (self.quota.capacity(), whole_seconds(self.quota.fill_time()));
        let policy = format!("\"{name}\";q={capacity};w={window}");
        fields.push_as(Kind::Other, b"retry-after", after.as_bytes());
        fields.push_as(Kind::Other, b"ratelimit", limit.as_bytes());
        fields.push_as(Kind::Other, b"ratelimit-policy", policy.as_bytes());
    }

    /// The gRPC status: with `RetryInfo`, which says that a later attempt makes sense, with
    /// `QuotaFailure`, and with the trailer of gRFC A6 that retrying clients wait for.
    pub(in crate::data) fn to_status(self) -> Status {
        let after = Duration::from_secs(whole_seconds(self.refusal.retry_after));
        let (capacity, rate) = (self.quota.capacity(), self.quota.rate());
        let description = format!("{capacity} requests at once, {rate} a second after that");
        let mut details = ErrorDetails::with_retry_info(Some(after));
        details.add_quota_failure_violation(format!("limit:{}", self.scope.label()), description);
        let mut metadata = MetadataMap::new();
        if let Ok(millis) = after.as_millis().to_string().parse() {
            metadata.insert(PUSHBACK, millis);
        }
        let message = self.to_string();
        Status::with_error_details_and_metadata(Code::ResourceExhausted, message, details, metadata)
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

const PUSHBACK: &str = "grpc-retry-pushback-ms";

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::Rate;

    fn limited(retry_after: Duration) -> Limited {
        let rate = Rate::per_second(7.0).unwrap();
        Limited {
            scope: Scope::Default,
            quota: Quota::new(NonZeroU32::new(100).unwrap(), rate).unwrap(),
            refusal: Refusal {
                retry_after,
                remaining: 0,
            },
        }
    }

    #[test]
    fn times_are_rounded_up() {
        let mut fields = Fields::default();
        limited(Duration::from_nanos(1)).write(&mut fields);
        let value = |name: &[u8]| str::from_utf8(fields.value(name).unwrap()).unwrap();
        assert_eq!(value(b"retry-after"), "1");
        assert_eq!(value(b"ratelimit"), "\"default\";r=0;t=1");
        assert_eq!(value(b"ratelimit-policy"), "\"default\";q=100;w=15");
    }

    #[test]
    fn a_grpc_client_learns_when_to_come_back() {
        let status = limited(Duration::from_millis(2_100)).to_status();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "rate limit exceeded");
        let after = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(after, Some(Duration::from_secs(3)));
        let failure = status.get_details_quota_failure().unwrap();
        assert_eq!(failure.violations[0].subject, "limit:default");
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "3000");
    }
}
