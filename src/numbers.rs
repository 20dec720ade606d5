//! Numbers as people read them, on the stats page and in `weir top`. Pure.

/// A rate or a count of at most four digits and a unit: `0`, `0.3`, `42`, `1.2 k`, `15 M`.
pub fn short(number: f64) -> String {
    let (value, unit) = scaled(number, 1000.0, &["", " k", " M", " G", " T"]);
    format!("{}{unit}", digits(value))
}

/// Bytes: `512 B`, `1.2 KiB`.
pub fn bytes(bytes: f64) -> String {
    let units = [" B", " KiB", " MiB", " GiB", " TiB"];
    let (value, unit) = scaled(bytes, 1024.0, &units);
    format!("{}{unit}", digits(value))
}

/// Milliseconds: `0.05 ms`, `12 ms`, `1.5 s`; a dash for none.
pub fn millis(millis: Option<f64>) -> String {
    match millis {
        None => "–".to_owned(),
        Some(long) if long >= 1000.0 => format!("{} s", digits(long / 1000.0)),
        Some(short) if short < 0.1 => format!("{short:.2} ms"),
        Some(millis) => format!("{} ms", digits(millis)),
    }
}

/// The next of 1, 2, 5, 10, 20, 50 and so on, so that what is shown seldom changes.
pub fn step_above(millis: f64) -> f64 {
    let mut decade = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if millis <= step * decade || decade >= 1e9 {
                return step * decade;
            }
        }
        decade *= 10.0;
    }
}

/// The time of day in UTC: `13:26:10 UTC`.
pub fn time_of_day(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000).rem_euclid(86_400);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

/// A time that has passed: `12 s`, `3 min`, `5 h`, `12 d`.
pub fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A whole count with thin spaces between thousands.
pub fn whole(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn scaled<'a>(number: f64, step: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut value = number;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What is shown as 1000 is 1.0 of the next unit.
    while value.round() >= step {
        let Some(next) = units.next() else {
            break;
        };
        value /= step;
        unit = next;
    }
    (value, unit)
}

fn digits(value: f64) -> String {
    if value > 0.0 && value < 9.95 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.3, "0.3"),
            (9.96, "10"),
            (42.4, "42"),
            (999.6, "1.0 k"),
            (1234.0, "1.2 k"),
            (15_000_000.0, "15 M"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(millis(None), "–");
        assert_eq!(millis(Some(0.052)), "0.05 ms");
        assert_eq!(millis(Some(1500.0)), "1.5 s");
        assert_eq!(ago(119), "119 s");
        assert_eq!(ago(7200), "2 h");
        assert_eq!(whole(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(whole(12), "12");
        assert_eq!(
            (step_above(0.3), step_above(1.1), step_above(5.0)),
            (1.0, 2.0, 5.0)
        );
        assert_eq!(step_above(5.1), 10.0);
        assert_eq!(time_of_day(1_795_784_717_182), "13:05:17 UTC");
    }
}
