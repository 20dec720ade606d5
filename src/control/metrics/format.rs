//! The two text formats of a metrics page.
//!
//! The client library writes OpenMetrics 1.0. Prometheus' older text format 0.0.4, which promtool and
//! many scrapers read, differs in few lines, so it is made of that.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};

/// A text format of a metrics page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::control) enum MetricsFormat {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl MetricsFormat {
    /// OpenMetrics where the client asks for it, as Prometheus does; else the text format.
    pub(in crate::control) fn accepted_by(head: &HeaderMap) -> Self {
        let accepted = head.get_all(header::ACCEPT);
        let is_asked = accepted.iter().any(|accept| {
            let accept = accept.as_bytes();
            let name = b"application/openmetrics-text";
            accept.windows(name.len()).any(|part| part == name)
        });
        match is_asked {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    pub(in crate::control) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A page in this format, of one in OpenMetrics.
    pub(in crate::control) fn page(self, open_metrics: String) -> String {
        match self {
            Self::Text => text_of(&open_metrics),
            Self::OpenMetrics => open_metrics,
        }
    }
}

/// In the text format a counter's family has the name of its samples, with `_total`; units are in
/// the names alone; there is no end mark, and no type `info`.
fn text_of(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with("# UNIT ") && line != "# EOF" {
                text.extend([line, "\n"]);
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let typed = lines.next_if(|line| line.starts_with("# TYPE "));
        let kind = typed.and_then(|line| line.rsplit(' ').next());
        let (suffix, kind) = match kind {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("unknown") | None => ("", "untyped"),
            Some(kind) => ("", kind),
        };
        let _infallible = writeln!(
            text,
            "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format_names_counters_by_their_samples() {
        let open_metrics = "# HELP weir_calls Calls.\n# TYPE weir_calls counter\nweir_calls_total 3\n\
             # HELP weir_build Build.\n# TYPE weir_build info\nweir_build_info{version=\"1\"} 1\n\
             # HELP weir_time_seconds Time.\n# TYPE weir_time_seconds histogram\n\
             # UNIT weir_time_seconds seconds\nweir_time_seconds_sum 0.5\n# EOF\n";
        assert_eq!(
            text_of(open_metrics),
            "# HELP weir_calls_total Calls.\n# TYPE weir_calls_total counter\nweir_calls_total 3\n\
             # HELP weir_build_info Build.\n# TYPE weir_build_info gauge\nweir_build_info{version=\"1\"} 1\n\
             # HELP weir_time_seconds Time.\n# TYPE weir_time_seconds histogram\n\
             weir_time_seconds_sum 0.5\n"
        );
    }

    #[test]
    fn open_metrics_is_for_those_that_ask() {
        for (accept, format) in [
            ("*/*", MetricsFormat::Text),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3",
                MetricsFormat::OpenMetrics,
            ),
        ] {
            let head = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(MetricsFormat::accepted_by(&head), format);
        }
        assert_eq!(
            MetricsFormat::accepted_by(&HeaderMap::new()),
            MetricsFormat::Text
        );
    }
}
