//! The first stage: for which host a request is, and to which upstream it goes.

use std::net::IpAddr;

use crate::{
    config,
    data::{
        context::{LocalSnapshot, UpstreamRef},
        fault::Fault,
    },
    message::{RequestHead, client_address, host_of},
    route::{Route, normal_path},
    state::Limit,
};

/// Where a request goes.
pub(super) struct Routed<'a> {
    /// The listener that it came in on.
    pub(super) listener: &'a config::Http,
    pub(super) route: &'a Route,
    /// The route's place in the listener's table.
    pub(super) route_index: usize,
    /// The limit of each client on the listener.
    pub(super) limit: Option<&'a Limit>,
    /// The limit of each client on the route.
    pub(super) route_limit: Option<&'a Limit>,
    pub(super) upstream: UpstreamRef,
    pub(super) host: &'a [u8],
    /// The client's address, as trusted proxies say.
    pub(super) client: IpAddr,
}

/// Finds the route of a request. Costs some look-ups by hash for each segment of the path.
///
/// # Errors
///
/// When the host is in doubt, the target is too long or has no normal form, or no route matches.
pub(super) fn route<'a>(
    snapshot: &'a LocalSnapshot,
    listener: usize,
    peer: IpAddr,
    head: &'a RequestHead,
) -> Result<Routed<'a>, Fault> {
    let http = snapshot.http(listener).ok_or(Fault::NoRoute)?;
    let listener = &*http.settings;
    if head.method() == b"CONNECT" {
        return Err(Fault::BadRequest("CONNECT is not supported"));
    }
    let host = host_of(head)?;
    if !head.has_path() {
        return Err(Fault::BadRequest("the target is not a path"));
    }
    let bytes_max = listener.uri_limit;
    if head.path_and_query().len() as u64 > bytes_max {
        return Err(Fault::UriLimit { bytes_max });
    }
    let path = normal_path(head.path()).map_err(Fault::BadRequest)?;
    let host_text = str::from_utf8(host).unwrap_or_default();
    let found = listener.router.route(host_text, &path);
    let (route_index, route) = found.ok_or(Fault::NoRoute)?;
    Ok(Routed {
        listener,
        route,
        route_index,
        limit: http.limit.as_ref(),
        route_limit: http.route_limits.get(route_index).and_then(Option::as_ref),
        upstream: UpstreamRef::new(snapshot, route.upstream).ok_or(Fault::NoRoute)?,
        host,
        client: client_address(head.fields(), peer, &listener.trusted_proxies),
    })
}
