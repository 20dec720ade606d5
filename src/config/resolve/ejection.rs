//! `ejection`: when backends whose requests fail are left alone for a while.

use std::num::NonZeroU32;

use crate::{
    config::{
        key::{Key, Percent, Span, Table, Whole},
        resolve::{DAY, HOUR, MILLIS_100},
        section::Section,
    },
    ejection::EjectionPolicy,
};

const CONSECUTIVE_FAILURES: Key<Whole<u32>> = Key::new(
    "consecutive_failures",
    Whole(0..=1000),
    "5",
    "Failed requests in a row that eject a backend: no connection, no response, 502, 503, 504, or gRPC's UNAVAILABLE without a message. 0 switches ejection off",
);
const BASE_TIME: Key<Span> = Key::new(
    "base_time",
    Span(MILLIS_100..=HOUR),
    "10s",
    "How long a first ejection lasts. Each further one lasts that much longer",
);
const MAX_TIME: Key<Span> = Key::new(
    "max_time",
    Span(MILLIS_100..=DAY),
    "5m",
    "The longest ejection; at least `base_time`",
);
const MAX_PERCENT: Key<Percent> = Key::new(
    "max_percent",
    Percent(0..=100),
    "50%",
    "The largest share of an upstream's backends that may be ejected at a time, rounded down. The last available backend is never ejected",
);
pub(super) static EJECTION: Table = Table {
    keys: &[&CONSECUTIVE_FAILURES, &BASE_TIME, &MAX_TIME, &MAX_PERCENT],
    renamed: &[
        ("failures", "consecutive_failures"),
        ("time", "base_time"),
        ("time_limit", "max_time"),
        ("share", "max_percent"),
    ],
    example: "{ consecutive_failures: 5 }",
};

/// Reads the section; `None` where nothing is ever ejected.
pub(super) fn ejection(section: Option<Section<'_>>) -> Option<EjectionPolicy> {
    let section = section?;
    let failures = section.get(&CONSECUTIVE_FAILURES);
    let base_time = section.known(&BASE_TIME);
    let max_time = section.get(&MAX_TIME);
    if section.has(MAX_TIME.name) && base_time.is_some_and(|base_time| max_time < base_time) {
        let message = format!(
            "{} must not be below base_time",
            section.full_path(MAX_TIME.name)
        );
        section
            .reading()
            .fault(section.value_place(&MAX_TIME), message);
    }
    let base_time = base_time.unwrap_or_else(|| BASE_TIME.default());
    let max_time = max_time.max(base_time);
    if !section.has(MAX_TIME.name) && max_time == base_time {
        section.note_effective(&MAX_TIME, max_time);
    }
    let max_percent = section.get(&MAX_PERCENT);
    Some(EjectionPolicy {
        // 0 switches it off, as nginx's max_fails does.
        consecutive_failures: NonZeroU32::new(failures)?,
        base_time,
        max_time,
        max_percent,
    })
}
