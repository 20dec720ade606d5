//! The two formats of a line. Pure, but for the second that [`Timestamp`] keeps; formats straight
//! into the buffer, without a string for each field.

use std::{
    fmt::{Display, Write as _},
    time::{Duration, SystemTime},
};

use http::Version;

use crate::{
    config::LogFormat,
    telemetry::access_log::{
        entry::{Attempt, Entry, RequestLine},
        escape::{Escaping, push_hex_escaped, push_json_escaped, push_word},
        timestamp::Timestamp,
    },
};

mod session;

pub(super) use session::push_session;

/// Appends one line with its end.
pub(super) fn push_line(
    format: LogFormat,
    out: &mut Vec<u8>,
    timestamp: &mut Timestamp,
    entry: &Entry<'_>,
) {
    match format {
        LogFormat::Json => push_json(out, timestamp, entry),
        LogFormat::Combined => push_combined(out, timestamp, entry),
    }
    out.push(b'\n');
}

fn push_combined(out: &mut Vec<u8>, timestamp: &mut Timestamp, entry: &Entry<'_>) {
    push_shown(out, push_word, &entry.client);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(timestamp.common(entry.time));
    out.extend_from_slice(b"] \"");
    match entry.request {
        Some(line) => {
            push_hex_escaped(out, line.method.as_bytes());
            out.push(b' ');
            push_hex_escaped(out, line.target.as_bytes());
            out.push(b' ');
            out.extend_from_slice(version(line.version));
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    push_number(out, entry.status.into());
    out.push(b' ');
    push_number(out, entry.body_bytes_sent);
    for field in [entry.referer, entry.user_agent, Some(entry.host)] {
        push_quoted(out, field);
    }
    push_course(
        out,
        entry.upstream.unwrap_or_default(),
        entry.attempts,
        entry.cause,
        [entry.first_byte, Some(entry.total)],
    );
    push_quoted(out, Some(entry.request_id));
    out.push(b' ');
    let failed = entry.attempts.iter().filter_map(|attempt| attempt.failed);
    push_list(out, failed, push_word_or_dash);
}

/// Appends upstream, backends, their number, the cause and two times.
fn push_course(
    out: &mut Vec<u8>,
    upstream: &str,
    attempts: &[Attempt<'_>],
    cause: &str,
    times: [Option<Duration>; 2],
) {
    out.push(b' ');
    push_word_or_dash(out, upstream);
    out.push(b' ');
    push_list(out, attempts.iter(), |out, attempt| {
        push_shown(out, push_word, attempt.backend);
    });
    out.push(b' ');
    push_number(out, attempts.len() as u64);
    out.push(b' ');
    push_word_or_dash(out, cause);
    for time in times {
        out.push(b' ');
        match time {
            Some(time) => push_seconds(out, time),
            None => out.push(b'-'),
        }
    }
}

/// Appends the items with commas between them, or a dash if there is none.
fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    let mut is_empty = true;
    for item in items {
        if !is_empty {
            out.push(b',');
        }
        push(out, item);
        is_empty = false;
    }
    if is_empty {
        out.push(b'-');
    }
}

/// Appends a space and the field in quotes.
fn push_quoted(out: &mut Vec<u8>, field: Option<&[u8]>) {
    out.extend_from_slice(b" \"");
    match field {
        None | Some([]) => out.push(b'-'),
        Some(field) => push_hex_escaped(out, field),
    }
    out.push(b'"');
}

fn push_word_or_dash(out: &mut Vec<u8>, word: &str) {
    if word.is_empty() {
        return out.push(b'-');
    }
    push_word(out, word.as_bytes());
}

fn push_json(out: &mut Vec<u8>, timestamp: &mut Timestamp, entry: &Entry<'_>) {
    push_beginning(out, timestamp, entry.time, &entry.client);
    let of = |part: fn(RequestLine<'_>) -> &[u8]| entry.request.map(part);
    push_text(out, b"method", of(|line| line.method.as_bytes()));
    push_text(out, b"target", of(|line| line.target.as_bytes()));
    push_text(out, b"protocol", of(|line| version(line.version)));
    push_text(
        out,
        b"host",
        Some(entry.host).filter(|host| !host.is_empty()),
    );
    push_key(out, b"status");
    push_number(out, entry.status.into());
    push_key(out, b"body_bytes_sent");
    push_number(out, entry.body_bytes_sent);
    push_key(out, b"body_bytes_received");
    push_number(out, entry.body_bytes_received);
    push_text(out, b"referer", entry.referer);
    push_text(out, b"user_agent", entry.user_agent);
    let request_id = Some(entry.request_id).filter(|id| !id.is_empty());
    push_text(out, b"request_id", request_id);
    push_text(out, b"upstream", entry.upstream.map(str::as_bytes));
    push_attempts(out, entry.attempts);
    push_text(out, b"cause", Some(entry.cause.as_bytes()));
    push_key(out, b"first_byte_seconds");
    push_seconds_or_null(out, entry.first_byte);
    push_key(out, b"total_seconds");
    push_seconds(out, entry.total);
    out.push(b'}');
}

/// The beginning of an object: when, and who.
fn push_beginning(
    out: &mut Vec<u8>,
    timestamp: &mut Timestamp,
    time: SystemTime,
    client: &dyn Display,
) {
    let (second, micros) = timestamp.rfc3339(time);
    out.extend_from_slice(b"{\"timestamp\":\"");
    out.extend_from_slice(second);
    push_micros(out, micros);
    out.extend_from_slice(b"Z\",\"client\":\"");
    push_shown(out, push_json_escaped, client);
    out.push(b'"');
}

/// The last backend, how many were tried, and which of them failed.
fn push_attempts(out: &mut Vec<u8>, attempts: &[Attempt<'_>]) {
    push_key(out, b"backend");
    match attempts.last() {
        Some(attempt) => push_backend(out, attempt),
        None => out.extend_from_slice(b"null"),
    }
    push_key(out, b"attempts");
    push_number(out, attempts.len() as u64);
    push_failed_attempts(out, attempts);
}

fn push_backend(out: &mut Vec<u8>, attempt: &Attempt<'_>) {
    out.push(b'"');
    push_shown(out, push_json_escaped, attempt.backend);
    out.push(b'"');
}

fn push_failed_attempts(out: &mut Vec<u8>, attempts: &[Attempt<'_>]) {
    push_key(out, b"failed_attempts");
    let mut separator = b'[';
    for attempt in attempts {
        let Some(cause) = attempt.failed else {
            continue;
        };
        out.push(separator);
        separator = b',';
        out.extend_from_slice(b"{\"backend\":");
        push_backend(out, attempt);
        push_text(out, b"cause", Some(cause.as_bytes()));
        out.push(b'}');
    }
    if separator == b'[' {
        out.push(b'[');
    }
    out.push(b']');
}

fn push_key(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
}

fn push_text(out: &mut Vec<u8>, key: &[u8], text: Option<&[u8]>) {
    push_key(out, key);
    let Some(text) = text else {
        return out.extend_from_slice(b"null");
    };
    out.push(b'"');
    push_json_escaped(out, text);
    out.push(b'"');
}

fn push_shown(out: &mut Vec<u8>, push: fn(&mut Vec<u8>, &[u8]), value: &dyn Display) {
    // The buffer takes everything; a value that fails by itself leaves what it has written.
    let _failed_by_itself = write!(Escaping { out, push }, "{value}");
}

/// Seconds with six decimals.
fn push_seconds(out: &mut Vec<u8>, duration: Duration) {
    push_number(out, duration.as_secs());
    push_micros(out, duration.subsec_micros());
}

fn push_seconds_or_null(out: &mut Vec<u8>, duration: Option<Duration>) {
    match duration {
        Some(duration) => push_seconds(out, duration),
        None => out.extend_from_slice(b"null"),
    }
}

/// The point and six digits.
fn push_micros(out: &mut Vec<u8>, micros: u32) {
    out.push(b'.');
    let mut unit = 100_000;
    while unit > 0 {
        out.push(digit((micros / unit % 10).into()));
        unit /= 10;
    }
}

/// Decimal digits, without the machinery of `fmt`: a line has six to ten numbers.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; U64_DIGITS_MAX];
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = digit(number % 10);
        count += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(U64_DIGITS_MAX - count));
}

/// Callers pass one decimal digit.
const fn digit(value: u64) -> u8 {
    b'0' + value as u8
}

const fn version(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        Version::HTTP_3 => b"HTTP/3.0",
        Version::HTTP_09 => b"HTTP/0.9",
        _ => b"HTTP/1.1",
    }
}

/// Those of 18,446,744,073,709,551,615.
const U64_DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests;
