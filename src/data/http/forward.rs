//! One request: which route it takes, and what its head says to the backend.

use std::{net::IpAddr, rc::Rc};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
    uri::PathAndQuery,
};
use hyper::{
    body::{Body as _, Incoming},
    ext::Protocol,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    data::{
        LocalSnapshot, WorkerContext,
        connection::Connection,
        error::ForwardError,
        http::{
            Peer, ProxyBody,
            attempt::{Answered, Deadline, Work, longest_wait},
            forwarded_headers, headers,
            record::Record,
            request_body::Upload,
            sending::Sending,
            tunnel::Tunnel,
            upgrade,
        },
    },
    route::{Prefix, Route, normal_path},
    state::{HttpSettings, Upstream},
};

/// Where a request came in, and what it is answered by.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Rc<Connection>,
    worker: Rc<WorkerContext>,
    snapshot: LocalSnapshot,
    listener: usize,
    peer: Rc<Peer>,
}

/// A request on its way to a backend.
pub(super) struct Forwarding<'a> {
    connection: &'a Connection,
    work: Work<'a>,
    route: &'a Route,
}

/// What the client gets.
pub(super) struct Forwarded {
    pub(super) response: Response<ProxyBody>,
    /// What the connection becomes, if the response is a 101.
    pub(super) tunnel: Option<Tunnel>,
}

impl Exchange {
    pub(super) fn new(connection: &Rc<Connection>, listener: usize, peer: &Rc<Peer>) -> Self {
        let worker = Rc::clone(connection.worker());
        let mut snapshot = worker.snapshot();
        let last = match snapshot.http(listener) {
            Some(_) => None,
            None => snapshot.last_with(listener).cloned(),
        };
        if let Some(last) = last {
            connection.ask_to_leave();
            snapshot = Rc::new(last);
        }
        Self {
            connection: Rc::clone(connection),
            snapshot,
            worker,
            listener,
            peer: Rc::clone(peer),
        }
    }

    /// Decides where a request goes, and what it says there.
    pub(super) fn prepare<'a>(
        &'a self,
        request: Request<Incoming>,
        mut record: Option<&'a mut Record>,
    ) -> Result<Forwarding<'a>, ForwardError> {
        let listener = self
            .snapshot
            .http(self.listener)
            .ok_or(ForwardError::NoRoute)?;
        let host = host_of(&request)?;
        let route = route(listener, &request, &host)?;
        let upstream = self
            .snapshot
            .upstreams
            .get(route.upstream)
            .ok_or(ForwardError::NoRoute)?;
        let client = forwarded_headers::client(
            request.headers(),
            self.peer.ip,
            &listener.settings.trusted_proxies,
        );
        if let Some(record) = &mut record {
            record.routed(client, upstream.name());
        }
        let deadline = upstream.settings.total_timeout.map(|timeout| Deadline {
            at: Instant::now() + timeout,
            timeout,
        });
        self.connection
            .must_end_by(deadline.map(|deadline| deadline.at));
        self.connection
            .may_stand_still_for(longest_wait(&upstream.settings));
        let sending = self.sending(request, listener, route, upstream, &host, client)?;
        if let Some(record) = &mut record {
            record.sending(&sending.headers, &sending.upload);
        }
        let work = Work {
            worker: &self.worker,
            upstream,
            sending,
            deadline,
            record,
        };
        Ok(Forwarding {
            connection: &self.connection,
            work,
            route,
        })
    }

    /// What is sent to whichever backend takes it.
    fn sending(
        &self,
        request: Request<Incoming>,
        listener: &HttpSettings,
        route: &Route,
        upstream: &Upstream,
        host: &HeaderValue,
        client: IpAddr,
    ) -> Result<Sending, ForwardError> {
        let bytes_max = listener.settings.body_limit;
        if request.body().size_hint().exact().unwrap_or(0) > bytes_max {
            return Err(ForwardError::BodyLimit { bytes_max });
        }
        let (mut head, incoming) = request.into_parts();
        let upgrade = upgrade::asked_for(&head, &incoming, &listener.settings.upgrades);
        let key = upstream
            .settings
            .hash_by
            .of(client, head.uri.path(), &head.headers);
        let key = match upstream.hashes() {
            true => key.into_owned(),
            false => Vec::new(),
        };
        // To HTTP/1.1 it would have to be named by `Connection`, and nobody misses it there.
        let wants_trailers =
            head.version == Version::HTTP_2 && headers::wants_trailers(&head.headers);
        let had_length = head.headers.contains_key(header::CONTENT_LENGTH);
        let unknown_length = !incoming.is_end_stream() && incoming.size_hint().exact().is_none();
        self.rewrite(&mut head, listener, route, host, client)?;
        if let Some(protocol) = &upgrade {
            headers::ask_for_upgrade(&mut head.headers, protocol);
        }
        let by_method = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
        Ok(Sending {
            wants_length: had_length || by_method,
            method: head.method,
            target: head.uri,
            headers: head.headers,
            upload: Upload::new(&self.connection, incoming, bytes_max),
            unknown_length,
            wants_trailers,
            upgrade,
            key,
        })
    }

    /// Makes the client's head one for a backend.
    fn rewrite(
        &self,
        head: &mut request::Parts,
        listener: &HttpSettings,
        route: &Route,
        host: &HeaderValue,
        client: IpAddr,
    ) -> Result<(), ForwardError> {
        head.uri = target(&head.uri, route)?;
        if !headers::is_clearly_framed(&head.headers) {
            return Err(ForwardError::BadRequest(
                "a transfer-encoding other than chunked",
            ));
        }
        headers::remove_hop_by_hop(&mut head.headers);
        headers::remove_ambiguous(&mut head.headers);
        // hyper writes the one that it keeps to, whatever the client wrote.
        head.headers.remove(header::CONTENT_LENGTH);
        if head.version == Version::HTTP_2 {
            headers::join_cookies(&mut head.headers);
        }
        head.headers.insert(header::HOST, host.clone());
        let trusted = &listener.settings.trusted_proxies;
        forwarded_headers::set_forwarded(&mut head.headers, &self.peer, client, host, trusted);
        route.request_headers.apply(&mut head.headers);
        Ok(())
    }
}

impl Forwarding<'_> {
    /// Forwards the request and returns the response with its body still streaming.
    pub(super) async fn run(&mut self) -> Result<Forwarded, ForwardError> {
        let answered = match self.work.deadline {
            Some(deadline) => Box::pin(timeout_at(deadline.at, self.work.run()))
                .await
                .unwrap_or_else(|_elapsed| Err(deadline.passed()))?,
            None => self.work.run().await?,
        };
        self.forwarded(answered)
    }

    /// The response as the client gets it.
    fn forwarded(&self, answered: Answered) -> Result<Forwarded, ForwardError> {
        let Answered {
            mut response,
            lease,
            upgrade,
            method,
        } = answered;
        let idle_timeout = self.work.upstream.settings.idle_timeout;
        // From here on it is the client who must go on.
        self.connection.progress();
        self.connection.may_stand_still_for(idle_timeout);
        if let Some(protocol) = upgrade {
            let rules = &self.route.response_headers;
            return upgrade::accept(response, &protocol, lease, idle_timeout, rules);
        }
        headers::remove_hop_by_hop(response.headers_mut());
        self.route.response_headers.apply(response.headers_mut());
        // The backend's version is no business of the client's.
        *response.version_mut() = Version::default();
        let deadline = self.work.deadline.map(|deadline| deadline.at);
        let has_body = method != Method::HEAD && !is_bodyless(response.status());
        let forward =
            |incoming| ProxyBody::forwarded(incoming, has_body, lease, idle_timeout, deadline);
        Ok(Forwarded {
            response: response.map(forward),
            tunnel: None,
        })
    }
}

fn is_bodyless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn route<'a>(
    listener: &'a HttpSettings,
    request: &Request<Incoming>,
    host: &HeaderValue,
) -> Result<&'a Route, ForwardError> {
    let settings = &listener.settings;
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    if target.len() as u64 > settings.uri_limit {
        return Err(ForwardError::UriLimit {
            bytes_max: settings.uri_limit,
        });
    }
    let path = normal_path(request.uri().path()).map_err(ForwardError::BadRequest)?;
    settings
        .router
        .route(host.to_str().unwrap_or_default(), &path)
        .ok_or(ForwardError::NoRoute)
}

/// Path and query as the backend gets them. Costs nothing where they stay as they are.
fn target(uri: &Uri, route: &Route) -> Result<Uri, ForwardError> {
    let malformed = |_source| ForwardError::BadRequest("the path is malformed");
    match (route.prefix, uri.path_and_query()) {
        (Prefix::Strip, _) => {
            let path = route.without_prefix(uri.path());
            let mut target = path.map_err(ForwardError::BadRequest)?;
            if let Some(query) = uri.query() {
                target.extend(["?", query]);
            }
            Uri::try_from(target).map_err(malformed)
        }
        (Prefix::Keep, Some(whole)) if whole.as_str().starts_with('/') => {
            Ok(Uri::from(whole.clone()))
        }
        // An absolute target may have a query and no path.
        (Prefix::Keep, Some(whole)) => Uri::try_from(format!("/{whole}")).map_err(malformed),
        (Prefix::Keep, None) => Ok(Uri::from_static("/")),
    }
}

/// The host that the request is for; one of them, and a valid one.
fn host_of(request: &Request<Incoming>) -> Result<HeaderValue, ForwardError> {
    if request.method() == Method::CONNECT || request.extensions().get::<Protocol>().is_some() {
        return Err(ForwardError::BadRequest("CONNECT is not supported"));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ForwardError::BadHost("more than one Host header"));
    }
    // The target of an absolute-form request or of HTTP/2 wins (RFC 9112 section 3.2.2).
    let authority = request.uri().authority();
    if let (Some(authority), Some(host)) = (authority, host)
        && request.version() == Version::HTTP_2
        && !authority
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(ForwardError::BadHost(
            "the Host header is not the :authority",
        ));
    }
    let is_named = host.is_some() || (request.version() == Version::HTTP_2 && authority.is_some());
    if !is_named && request.version() != Version::HTTP_10 {
        return Err(ForwardError::BadHost("the Host header is missing"));
    }
    let named = match (authority, host) {
        (Some(authority), _) => HeaderValue::try_from(authority.as_str()).ok(),
        (None, Some(host)) => Some(host.clone()),
        // Only HTTP/1.0 came so far without either.
        (None, None) => Some(HeaderValue::from_static("localhost")),
    };
    // Also the one that loses must be well-formed: who knows who else has read it.
    let other_is_valid =
        authority.is_none() || host.is_none_or(|host| headers::is_host(host.as_bytes()));
    let target = request.uri().path_and_query();
    let is_path = target.is_some_and(|target| target.as_str().starts_with('/'));
    named
        .filter(|named| headers::is_host(named.as_bytes()) && other_is_valid && is_path)
        .ok_or(ForwardError::BadHost(
            "the Host header or the target is malformed",
        ))
}
