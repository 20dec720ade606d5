//! What is sent to a backend, and what may come back.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body as _, Incoming};

use crate::{
    data::{
        error::ForwardError,
        http::{
            headers,
            request_body::{RequestBody, Upload},
        },
    },
    net::HttpVersion,
    state::Backend,
};

/// What is sent, whatever backend and connection it is sent on.
pub(super) struct Sending {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) upload: Rc<Upload>,
    /// Whether there is a body that does not say how long it is.
    pub(super) unknown_length: bool,
    /// Whether also an empty body must say how long it is.
    pub(super) wants_length: bool,
    /// Whether the client reads trailers.
    pub(super) wants_trailers: bool,
    /// The protocol that the client wants to switch to.
    pub(super) upgrade: Option<HeaderValue>,
    /// What consistent hashing hashes.
    pub(super) key: Vec<u8>,
}

impl Sending {
    /// The request in one version. The head is copied, as it may be needed again.
    pub(super) fn request(
        &self,
        version: HttpVersion,
        backend: &Backend,
        body: RequestBody,
    ) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        match version {
            HttpVersion::Http1 => {
                *request.uri_mut() = self.target.clone();
                if self.unknown_length {
                    // hyper would send no body at all with a GET that does not say that it has one.
                    let chunked = HeaderValue::from_static("chunked");
                    request
                        .headers_mut()
                        .insert(header::TRANSFER_ENCODING, chunked);
                } else if self.wants_length && request.body().is_end_stream() {
                    // Some servers answer 411, or wait (RFC 9110 section 8.6).
                    let none = HeaderValue::from_static("0");
                    request.headers_mut().insert(header::CONTENT_LENGTH, none);
                }
            }
            HttpVersion::Http2 => {
                *request.version_mut() = Version::HTTP_2;
                *request.uri_mut() = headers::absolute(&self.target, &self.headers, backend);
                let headers = request.headers_mut();
                // The target says it; and nobody can switch from HTTP/2.
                headers.remove(header::HOST);
                headers.remove(header::CONNECTION);
                headers.remove(header::UPGRADE);
                if self.wants_trailers {
                    headers.insert(header::TE, HeaderValue::from_static("trailers"));
                }
            }
        }
        request
    }

    /// Passes a response on, if it can be.
    pub(super) fn judge(
        &self,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, ForwardError> {
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let asked = self
            .upgrade
            .as_ref()
            .is_some_and(|protocol| headers::is_switched_to(response.headers(), protocol));
        if response.status().is_informational() && !(switches && asked) {
            return Err(ForwardError::UnaskedUpgrade);
        }
        // hyper takes several lengths that are equal, and would pass them all on over HTTP/2.
        let lengths = response.headers().get_all(header::CONTENT_LENGTH).iter();
        if !headers::is_clearly_framed(response.headers()) || lengths.count() > 1 {
            return Err(ForwardError::BadResponse);
        }
        Ok(response)
    }
}
