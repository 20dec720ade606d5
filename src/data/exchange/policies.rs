//! The stage that may refuse a request before a backend is picked. An allow list would be one line
//! here, and a file of its own.

use tokio::time::Instant;

use crate::{
    data::{
        context::WorkerContext,
        exchange::{rewrite::OPTIONS_MAX, route::Routed},
        fault::Fault,
        rate_limit::{self, Caller, Scoped},
    },
    limit::RouteRule,
    message::{Framing, Kind, RequestHead, tokens},
};

/// Asks every policy.
///
/// # Errors
///
/// The fault of the first policy that refuses the request.
pub(super) fn check(
    context: &WorkerContext,
    routed: &Routed<'_>,
    head: &RequestHead,
    body: Framing,
    now: Instant,
) -> Result<(), Fault> {
    rate_limits(context, routed, head, now)?;
    connection_options(head)?;
    forwarding_loop(head)?;
    announced_length(routed, body)
}

/// A client may make as many requests as its limits admit.
fn rate_limits(
    context: &WorkerContext,
    routed: &Routed<'_>,
    head: &RequestHead,
    now: Instant,
) -> Result<(), Fault> {
    let RouteRule::Limited { cost, .. } = routed.route.rate_limit else {
        return Ok(());
    };
    let scoped = Scoped {
        listener: routed.limit,
        route: routed.route_limit,
        cost,
    };
    let limits = &routed.upstream.snapshot().limits;
    if !rate_limit::is_limited(limits, scoped) {
        return Ok(());
    }
    let caller = Caller::of(head, routed.client, limits);
    rate_limit::admit(context, limits, scoped, caller, now).map_err(Fault::RateLimited)
}

/// A request that lists more names in `Connection` than are looked at would get the others through.
fn connection_options(head: &RequestHead) -> Result<(), Fault> {
    match tokens(head.fields().of_kind(Kind::Connection)).count() > OPTIONS_MAX {
        true => Err(Fault::BadRequest(
            "the Connection header lists too many names",
        )),
        false => Ok(()),
    }
}

/// A backend that is this load balancer again, also through other proxies, would get each request
/// for ever (RFC 8586).
fn forwarding_loop(head: &RequestHead) -> Result<(), Fault> {
    let hops = tokens(head.fields().of_kind(Kind::CdnLoop));
    let hops = hops
        .filter(|hop| hop.eq_ignore_ascii_case(LOOP_TOKEN))
        .count();
    match hops >= HOPS_MAX {
        true => Err(Fault::ForwardingLoop { hops }),
        false => Ok(()),
    }
}

/// A body that announces too much is refused before its first byte.
fn announced_length(routed: &Routed<'_>, body: Framing) -> Result<(), Fault> {
    match (body, routed.listener.body_limit) {
        (Framing::Length(length), Some(bytes_max)) if length > bytes_max => {
            Err(Fault::BodyLimit { bytes_max })
        }
        _ => Ok(()),
    }
}

/// How this load balancer names itself in `CDN-Loop`.
pub(super) const LOOP_TOKEN: &[u8] = b"weir";
/// Load balancers of this kind that may stand one behind the other.
const HOPS_MAX: usize = 8;
