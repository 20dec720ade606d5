//! Heads that never became a request. They are answered, counted and logged like requests that
//! were refused, so that the operator sees why a client complains.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::{
    data::{
        answer::{Asked, refuse},
        connection::Connection,
        exchange::{HttpWorker, request_id::new_request_id},
        fault::Fault,
        stream::{MessageStream, Turn},
    },
    telemetry::access_log::Entry,
};

/// Answers a head that cannot be read, which began at `since`.
pub(in crate::data) fn answer_unreadable(
    http: &HttpWorker,
    connection: &Connection,
    turn: &mut Turn<'_, '_>,
    client: &mut MessageStream,
    asked: Asked,
    fault: &Fault,
    since: Instant,
) {
    let row = fault.row();
    let id = new_request_id();
    let sent = refuse(turn, client, asked, fault, &id, true);
    let stats = http.stats();
    stats.faults(row.cause).increment();
    let status = if asked.is_grpc { 200 } else { row.status };
    let took = turn.now.saturating_duration_since(since);
    stats.unrouted.record(status, took);
    http.log_entry(&Entry {
        time: SystemTime::now() - took,
        client: connection.peer.ip,
        request: None,
        host: b"",
        status,
        body_bytes_sent: sent.unwrap_or(0) as u64,
        body_bytes_received: 0,
        referer: None,
        user_agent: None,
        request_id: &id,
        upstream: None,
        attempts: &[],
        cause: row.cause.label(),
        first_byte: None,
        total: took,
    });
}
