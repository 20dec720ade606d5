//! `connections`: limits and timeouts of client connections.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    time::Duration,
};

use crate::config::{
    Connections,
    key::{Bytes, Key, OrNone, Span, Table, Whole},
    resolve::{DAY, MILLIS_100, TIMEOUT},
    section::Section,
};

const LIMIT: Key<Whole<NonZeroUsize>> = Key::optional(
    "limit",
    Whole(COUNTS),
    "seven eighths of the limit of open files, less 64",
    "Open client connections of the process. One more is closed at accept. While connections to backends need more than an eighth of the files, the limit is lower",
);
const PER_CLIENT_LIMIT: Key<OrNone<Whole<NonZeroUsize>>> = Key::new(
    "per_client_limit",
    OrNone(Whole(COUNTS)),
    "none",
    "Open connections of one client address, or of one /64 of IPv6. One more is closed at accept. A proxy in front makes all clients one address",
);
const MAX_HEADER_SIZE: Key<Bytes<u32>> = Key::new(
    "max_header_size",
    Bytes((8 << 10)..=(1 << 20)),
    "48KiB",
    "The longest request head. Each connection may hold that much",
);
const FIRST_BYTE_TIMEOUT: Key<Span> = Key::new(
    "first_byte_timeout",
    Span(TIMEOUT),
    "10s",
    "Time until a new connection's first byte, and until the end of an HTTP/2 preface",
);
const HEADER_TIMEOUT: Key<Span> = Key::new(
    "header_timeout",
    Span(TIMEOUT),
    "10s",
    "Time for a whole HTTP/1.1 request head once it has begun",
);
const IDLE_TIMEOUT: Key<Span> = Key::new(
    "idle_timeout",
    Span(MILLIS_100..=DAY),
    "75s",
    "Time that a connection may stay open without a request, or with requests of which none makes progress. The default is above the 60 s of load balancers that may stand in front, so that Weir does not close a connection as it is used again",
);
const MIN_BODY_RATE: Key<OrNone<Bytes<u32>>> = Key::new(
    "min_body_rate",
    OrNone(Bytes(1..=(1 << 20))),
    "240B",
    "The least bytes a second, averaged over 30 s, at which a client must send a request's body and take a response while it is waited for. gRPC calls and tunnels are exempt",
);
const MAX_CONNECTION_AGE: Key<Span> = Key::new(
    "max_connection_age",
    Span(Duration::from_secs(1)..=Duration::from_secs(7 * 86_400)),
    "30m",
    "Age at which an HTTP/2 connection gets a GOAWAY, spread by a tenth either way, so that clients find new replicas",
);
const MAX_CONNECTION_AGE_GRACE: Key<Span> = Key::new(
    "max_connection_age_grace",
    Span(TIMEOUT),
    "30s",
    "Time that a connection has to finish its requests after that GOAWAY",
);
const MAX_CONCURRENT_STREAMS: Key<Whole<NonZeroU32>> = Key::new(
    "max_concurrent_streams",
    Whole(NonZeroU32::MIN..=NonZeroU32::new(1 << 16).expect("not zero")),
    "256",
    "Requests at a time on one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS)",
);
pub(super) static CONNECTIONS: Table = Table {
    keys: &[
        &LIMIT,
        &PER_CLIENT_LIMIT,
        &MAX_HEADER_SIZE,
        &FIRST_BYTE_TIMEOUT,
        &HEADER_TIMEOUT,
        &IDLE_TIMEOUT,
        &MIN_BODY_RATE,
        &MAX_CONNECTION_AGE,
        &MAX_CONNECTION_AGE_GRACE,
        &MAX_CONCURRENT_STREAMS,
    ],
    renamed: &[
        ("head_limit", "max_header_size"),
        ("age_limit", "max_connection_age"),
        ("age_grace", "max_connection_age_grace"),
        ("streams_limit", "max_concurrent_streams"),
    ],
    example: "{ idle_timeout: 75s }",
};

/// Reads the section.
pub(super) fn connections(section: &Section<'_>) -> Connections {
    Connections {
        limit: section.given(&LIMIT),
        per_client_limit: section.get(&PER_CLIENT_LIMIT),
        max_header_size: section.get(&MAX_HEADER_SIZE),
        first_byte_timeout: section.get(&FIRST_BYTE_TIMEOUT),
        header_timeout: section.get(&HEADER_TIMEOUT),
        idle_timeout: section.get(&IDLE_TIMEOUT),
        max_connection_age: section.get(&MAX_CONNECTION_AGE),
        max_connection_age_grace: section.get(&MAX_CONNECTION_AGE_GRACE),
        max_concurrent_streams: section.get(&MAX_CONCURRENT_STREAMS),
        min_body_rate: section.get(&MIN_BODY_RATE),
    }
}

const COUNTS: RangeInclusive<NonZeroUsize> =
    NonZeroUsize::MIN..=NonZeroUsize::new(1 << 24).expect("not zero");
