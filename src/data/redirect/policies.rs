//! What may refuse a call before its video is looked at: the limits of requests. Health and
//! reflection come under none.

use std::num::NonZeroU32;

use http::request;
use tokio::time::Instant;

use crate::{
    data::{
        connection::Connection,
        limited::Limited,
        rate_limit::{self, API_KEY, Caller, Scoped},
        redirect::RedirectWorker,
        stream::{Turn, read_request},
    },
    message::{RequestHead, client_address, is_trusted},
    state::Snapshot,
};

impl RedirectWorker {
    /// Asks the limits about a call over HTTP.
    pub(super) fn admit(
        &self,
        connection: &Connection,
        head: &RequestHead,
        now: Instant,
    ) -> Result<(), Limited> {
        let snapshot = self.context.snapshot();
        let Some((scoped, proxies)) = limited_by(&snapshot) else {
            return Ok(());
        };
        let address = client_address(head.fields(), connection.peer.ip, proxies);
        let caller = Caller::of(head, address, &snapshot.limits);
        rate_limit::admit(&self.context, &snapshot.limits, scoped, caller, now)
    }

    /// Asks the limits about a gRPC call.
    pub(super) fn admit_grpc(
        &self,
        connection: &Connection,
        head: &request::Parts,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Limited> {
        let snapshot = self.context.snapshot();
        let Some((scoped, proxies)) = limited_by(&snapshot) else {
            return Ok(());
        };
        let peer = connection.peer.ip;
        let is_forwarded = head.headers.contains_key(FORWARDED_FOR) && is_trusted(peer, proxies);
        let address = match is_forwarded {
            true => {
                let fields = &mut turn.scratch.request;
                read_request(head, fields);
                client_address(fields.fields(), peer, proxies)
            }
            false => peer,
        };
        let has_keys = snapshot.limits.clients.has_keys();
        let api_key = has_keys.then(|| head.headers.get(API_KEY)).flatten();
        let api_key = api_key.map(http::HeaderValue::as_bytes);
        let caller = Caller { address, api_key };
        rate_limit::admit(&self.context, &snapshot.limits, scoped, caller, turn.now)
    }
}

/// The limits that calls come under, and the proxies that say which client they are of; `None` if
/// there are no limits.
fn limited_by(snapshot: &Snapshot) -> Option<(Scoped<'_>, &[ipnet::IpNet])> {
    let settings = snapshot.redirect.as_ref()?;
    let scoped = Scoped {
        listener: settings.limit.as_ref(),
        route: None,
        cost: NonZeroU32::MIN,
    };
    let is_limited = rate_limit::is_limited(&snapshot.limits, scoped);
    is_limited.then_some((scoped, &*settings.trusted_proxies))
}

const FORWARDED_FOR: &str = "x-forwarded-for";
