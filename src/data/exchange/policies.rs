//! The stage that may refuse a request before a backend is picked. A rate limit or an allow list is
//! one file beside this one and one line here.

use crate::{
    data::{
        exchange::{rewrite::OPTIONS_MAX, route::Routed},
        fault::Fault,
    },
    message::{Framing, Kind, RequestHead, tokens},
};

/// Asks every policy.
///
/// # Errors
///
/// The fault of the first policy that refuses the request.
pub(super) fn check(routed: &Routed<'_>, head: &RequestHead, body: Framing) -> Result<(), Fault> {
    connection_options(head)?;
    forwarding_loop(head)?;
    announced_length(routed, body)
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
