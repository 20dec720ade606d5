//! The time of a line, in both formats. The text of a second is made once and kept, since
//! thousands of lines share it.

use std::{
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// Writes times; one for each sink.
#[derive(Debug, Default)]
pub(super) struct Timestamp {
    /// The second that the texts are of; `None` at first.
    second: Option<u64>,
    /// `20/Nov/2026:12:00:00 +0000`
    common: Vec<u8>,
    /// `2026-11-20T12:00:00`
    rfc3339: Vec<u8>,
}

impl Timestamp {
    /// The time as the Common Log Format writes it, without brackets.
    pub(super) fn common(&mut self, time: SystemTime) -> &[u8] {
        self.update(time);
        &self.common
    }

    /// The time as RFC 3339 writes it, up to the second; and the microseconds.
    pub(super) fn rfc3339(&mut self, time: SystemTime) -> (&[u8], u32) {
        let micros = self.update(time);
        (&self.rfc3339, micros)
    }

    /// Renews the texts if the second is another, and returns the microseconds. A time before
    /// 1970 is a clock that was never set, and counts as 1970.
    fn update(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            self.common.clear();
            self.rfc3339.clear();
            let Civil { year, month, day } = Civil::of(second / DAY);
            let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
            let name = MONTHS.get(month as usize - 1).unwrap_or(&"-");
            // Writing to a vector cannot fail.
            let _never = write!(
                self.common,
                "{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"
            );
            let _never = write!(
                self.rfc3339,
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
            );
        }
        since.subsec_micros()
    }
}

/// A day of the Gregorian calendar.
#[derive(Debug, Eq, PartialEq)]
struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
}

impl Civil {
    /// The day that is so many days after 1970-01-01. Years begin in March here, so that the leap
    /// day is a year's last (Howard Hinnant's `civil_from_days`).
    const fn of(days: u64) -> Self {
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let january_or_february = (month <= 2) as u64;
        Self {
            year: era * 400 + year_of_era + january_or_february,
            month,
            day,
        }
    }
}

/// Seconds.
const DAY: u64 = 86_400;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(second: u64, common: &str, rfc3339: &str) {
        let mut timestamp = Timestamp::default();
        let time = UNIX_EPOCH + Duration::from_secs(second) + Duration::from_micros(42);
        assert_eq!(timestamp.common(time), common.as_bytes());
        assert_eq!(timestamp.rfc3339(time), (rfc3339.as_bytes(), 42));
    }

    #[test]
    fn times_are_written_in_both_formats() {
        check(0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00");
        check(
            1_795_176_000,
            "20/Nov/2026:12:00:00 +0000",
            "2026-11-20T12:00:00",
        );
        check(
            951_782_399,
            "28/Feb/2000:23:59:59 +0000",
            "2000-02-28T23:59:59",
        );
        check(
            951_782_400,
            "29/Feb/2000:00:00:00 +0000",
            "2000-02-29T00:00:00",
        );
    }

    #[test]
    fn a_time_before_1970_counts_as_1970() {
        let mut timestamp = Timestamp::default();
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(timestamp.rfc3339(before), (&b"1970-01-01T00:00:00"[..], 0));
    }

    #[test]
    fn a_kept_second_is_renewed() {
        let mut timestamp = Timestamp::default();
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        timestamp.common(at(59));
        assert_eq!(timestamp.common(at(60)), b"01/Jan/1970:00:01:00 +0000");
        assert_eq!(timestamp.common(at(59)), b"01/Jan/1970:00:00:59 +0000");
    }

    proptest! {
        #[test]
        fn agrees_with_humantime(second in 0_u64..253_402_300_800, micros in 0_u32..1_000_000) {
            let time = UNIX_EPOCH + Duration::new(second, micros * 1_000);
            let mut timestamp = Timestamp::default();
            let (text, micros) = timestamp.rfc3339(time);
            let text = format!("{}.{micros:06}Z", str::from_utf8(text).unwrap());
            prop_assert_eq!(text, humantime::format_rfc3339_micros(time).to_string());
        }
    }
}
