//! Heads that never became a request: hyper, or a time limit, ended them. They are counted and
//! logged like requests that were refused, so that nobody has to guess why a client complains.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use crate::{
    data::WorkerContext,
    state::{Cause, CloseCause},
    telemetry::access_log::Entry,
};

/// Notes why a connection ended, if that was within a head. `took` is what the head had so far.
pub(in crate::data) fn note_unreadable_head(
    worker: &WorkerContext,
    peer: IpAddr,
    closed: CloseCause,
    took: Duration,
) {
    let (status, cause) = match closed {
        CloseCause::MalformedHead => (StatusCode::BAD_REQUEST, Cause::BadRequest),
        CloseCause::HeadLimit => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Cause::HeadLimit,
        ),
        // Nobody answers it, as it is no request yet. The status is what nginx logs.
        CloseCause::HeaderTimeout => (StatusCode::REQUEST_TIMEOUT, Cause::ClientStalled),
        CloseCause::Done
        | CloseCause::ConnectionError
        | CloseCause::FirstByteTimeout
        | CloseCause::IdleTimeout
        | CloseCause::Stalled
        | CloseCause::AgeLimit
        | CloseCause::ConnectionLimit
        | CloseCause::ClientLimit
        | CloseCause::Drained
        | CloseCause::Cut
        | CloseCause::Panic => return,
    };
    let stats = &worker.state().stats;
    stats.faults(cause).increment();
    if closed != CloseCause::HeaderTimeout {
        stats.responses(status).increment();
    }
    let Some(sink) = &worker.access_log else {
        return;
    };
    sink.write(&Entry {
        time: SystemTime::now() - took,
        client: peer,
        request: None,
        host: b"",
        status: status.as_u16(),
        body_bytes_sent: 0,
        body_bytes_received: 0,
        referer: None,
        user_agent: None,
        request_id: b"",
        upstream: None,
        attempts: &[],
        cause: cause.label(),
        first_byte: None,
        total: took,
    });
}
