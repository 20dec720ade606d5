//! The line of a session of the TCP load balancer.

use crate::{
    config::LogFormat,
    telemetry::access_log::{
        entry::SessionEntry,
        escape::{push_json_escaped, push_word},
        format::{
            push_attempts, push_beginning, push_course, push_key, push_list, push_number,
            push_seconds, push_seconds_or_null, push_shown, push_text, push_word_or_dash,
        },
        timestamp::Timestamp,
    },
};

/// Appends one line with its end.
pub(in crate::telemetry::access_log) fn push_session(
    format: LogFormat,
    out: &mut Vec<u8>,
    timestamp: &mut Timestamp,
    entry: &SessionEntry<'_>,
) {
    match format {
        LogFormat::Json => push_json(out, timestamp, entry),
        LogFormat::Combined => push_combined(out, timestamp, entry),
    }
    out.push(b'\n');
}

/// As a request's line up to the time, then `TCP` in place of the request.
fn push_combined(out: &mut Vec<u8>, timestamp: &mut Timestamp, entry: &SessionEntry<'_>) {
    push_shown(out, push_word, &entry.client.ip());
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(timestamp.common(entry.time));
    out.extend_from_slice(b"] \"TCP ");
    push_shown(out, push_word, &entry.listener);
    out.extend_from_slice(b"\" ");
    push_number(out, entry.bytes_received);
    out.push(b' ');
    push_number(out, entry.bytes_sent);
    push_course(
        out,
        entry.upstream,
        entry.attempts,
        entry.cause,
        [entry.connect, Some(entry.total)],
    );
    out.push(b' ');
    let failed = entry.attempts.iter().filter_map(|attempt| attempt.failed);
    push_list(out, failed, push_word_or_dash);
}

fn push_json(out: &mut Vec<u8>, timestamp: &mut Timestamp, entry: &SessionEntry<'_>) {
    push_beginning(out, timestamp, entry.time, &entry.client.ip());
    push_key(out, b"client_port");
    push_number(out, entry.client.port().into());
    push_text(out, b"protocol", Some(b"TCP"));
    push_key(out, b"listener");
    out.push(b'"');
    push_shown(out, push_json_escaped, &entry.listener);
    out.push(b'"');
    push_text(out, b"upstream", Some(entry.upstream.as_bytes()));
    push_attempts(out, entry.attempts);
    push_key(out, b"bytes_received");
    push_number(out, entry.bytes_received);
    push_key(out, b"bytes_sent");
    push_number(out, entry.bytes_sent);
    push_text(out, b"cause", Some(entry.cause.as_bytes()));
    push_key(out, b"connect_seconds");
    push_seconds_or_null(out, entry.connect);
    push_key(out, b"total_seconds");
    push_seconds(out, entry.total);
    out.push(b'}');
}
