//! Asks a backend by HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;

use crate::{
    config::{HttpProbe, Scheme},
    control::prober::{ProbeFailure, Prober},
    net::{HttpVersion, Transport},
};

impl Prober {
    /// Only the status counts, so the body is never read.
    pub(super) async fn ask_http(&self, probe: &HttpProbe) -> Result<(), ProbeFailure> {
        let (stream, version) = self.dial().await?;
        let request = self.http_request(probe, version)?;
        let answered = ask(stream, version, request).await?.status().as_u16();
        if probe.status.contains(&answered) {
            return Ok(());
        }
        Err(ProbeFailure::Status {
            asked: format!("{} {} on {}", probe.method, probe.path, self.backend.addr),
            answered,
            expected: format!("{}-{}", probe.status.start(), probe.status.end()),
        })
    }

    fn http_request(
        &self,
        probe: &HttpProbe,
        version: HttpVersion,
    ) -> Result<Request<Full<Bytes>>, ProbeFailure> {
        let authority = self.backend.name.authority();
        let host = match &probe.host {
            Some(host) => host.to_str().unwrap_or(&authority),
            None => &authority,
        };
        let request = Request::builder().method(&probe.method);
        let mut request = match version {
            HttpVersion::Http1 => request
                .uri(probe.path.as_str())
                .header(header::HOST, host)
                .header(header::CONNECTION, "close"),
            HttpVersion::Http2 => request
                .uri(self.url(host, probe.path.as_str()))
                .version(Version::HTTP_2),
        };
        if !probe
            .headers
            .iter()
            .any(|(name, _)| name == header::USER_AGENT)
        {
            request = request.header(header::USER_AGENT, USER_AGENT);
        }
        for (name, value) in &probe.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::default())
            .map_err(|_source| ProbeFailure::Malformed)
    }

    /// A URL as HTTP/2 needs it.
    pub(super) fn url(&self, host: &str, path: &str) -> String {
        match self.backend.name.scheme {
            Scheme::Https => format!("https://{host}{path}"),
            Scheme::Http | Scheme::H2c | Scheme::Tcp => format!("http://{host}{path}"),
        }
    }
}

/// Sends one request on a connection of its own, which ends with the answer.
pub(super) async fn ask(
    stream: Transport,
    version: HttpVersion,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ProbeFailure> {
    let io = TokioIo::new(stream);
    match version {
        HttpVersion::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::select! {
                response = sender.send_request(request) => Ok(response?),
                Err(broken) = connection => Err(broken.into()),
            }
        }
        HttpVersion::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            // Lives until the answer was read: the body comes over it.
            tokio::spawn(timeout(CONNECTION_TIME_MAX, connection));
            Ok(sender.send_request(request).await?)
        }
    }
}

pub(super) const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));
/// No probe takes longer; an HTTP/2 connection ends when its sender is gone.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
