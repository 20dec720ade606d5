//! Switches of protocol: WebSocket and whatever else a listener allows.
//!
//! Nothing that the client sends after its head reaches the backend before the backend agreed
//! (CVE-2026-2833): hyper holds it back until the 101 was written.

use http::{HeaderValue, Response, Version, header, request};
use hyper::body::{Body as _, Incoming};
use tokio::time::Duration;

use crate::{
    data::{
        error::ForwardError,
        http::{ProxyBody, forward::Forwarded, headers, lease::Lease, tunnel::Tunnel},
    },
    header_rules::HeaderRules,
};

/// The protocol that a request asks to switch to, if it may: HTTP/1.1, without a body, and one of
/// those that the listener `allows`.
pub(super) fn asked_for(
    head: &request::Parts,
    body: &Incoming,
    allows: &[String],
) -> Option<HeaderValue> {
    let may_switch = head.version == Version::HTTP_11 && body.is_end_stream();
    let protocol = headers::asked_upgrade(&head.headers).filter(|_| may_switch)?;
    let is_allowed =
        |allowed: &String| protocol.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
    allows.iter().any(is_allowed).then(|| protocol.clone())
}

/// Agrees to the switch that the backend agreed to.
pub(super) fn accept(
    mut response: Response<Incoming>,
    protocol: &HeaderValue,
    lease: Lease,
    idle_timeout: Duration,
    rules: &HeaderRules,
) -> Result<Forwarded, ForwardError> {
    let upgraded = hyper::upgrade::on(&mut response);
    headers::remove_hop_by_hop(response.headers_mut());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    rules.apply(response.headers_mut());
    headers::ask_for_upgrade(response.headers_mut(), protocol);
    Ok(Forwarded {
        response: response.map(|_none| ProxyBody::whole(bytes::Bytes::new())),
        tunnel: Some(Tunnel::new(upgraded, lease, idle_timeout)),
    })
}
