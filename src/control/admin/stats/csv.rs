//! The statistics in the columns of HAProxy 2.6, for exporters and scripts that read those.
//!
//! A value that is not known is empty, never 0.

use crate::{
    control::stats::{BackendView, ListenerView, Stats, UpstreamStats},
    state::Condition,
};

/// Writes the header and the rows: a `FRONTEND` for each listener, and for each upstream its backends and
/// a `BACKEND`.
pub(super) fn write(stats: &Stats) -> String {
    let mut text = format!("# {},\n", COLUMNS.join(","));
    let mut number = 0;
    for listener in &stats.listeners {
        number += 1;
        Row::of_listener(listener, number).write(&mut text);
    }
    for upstream in &stats.upstreams {
        number += 1;
        for (index, backend) in (1..).zip(&upstream.backends) {
            let row = Row::of_backend(upstream, backend, stats.at_ms);
            row.numbered(number, index).write(&mut text);
        }
        Row::of_upstream(upstream)
            .numbered(number, 0)
            .write(&mut text);
    }
    text
}

/// What a listener is called.
pub(super) fn name_of(listener: &ListenerView) -> String {
    format!("{}@{}", listener.service, listener.address)
}

/// A row, by the names of its columns.
struct Row(Vec<(&'static str, String)>);

impl Row {
    fn new(proxy: &str, server: &str, kind: u8, status: &str, mode: &str) -> Self {
        Self(vec![
            ("pxname", proxy.to_owned()),
            ("svname", server.to_owned()),
            ("type", kind.to_string()),
            ("status", status.to_owned()),
            ("mode", mode.to_owned()),
            ("pid", "1".to_owned()),
        ])
    }

    fn with(mut self, column: &'static str, value: impl ToString) -> Self {
        debug_assert!(COLUMNS.contains(&column), "{column}");
        self.0.push((column, value.to_string()));
        self
    }

    /// With the numbers of its proxy and of its server.
    fn numbered(self, proxy: usize, server: usize) -> Self {
        self.with("iid", proxy).with("sid", server)
    }

    fn of_listener(listener: &ListenerView, number: usize) -> Self {
        let mode = match listener.service {
            "tcp" => "tcp",
            _ => "http",
        };
        Self::new(&name_of(listener), "FRONTEND", 0, "OPEN", mode)
            .numbered(number, 0)
            .with("scur", listener.connections)
            .with("stot", listener.accepted)
            .with("rate", listener.accepted_per_second.round())
            .with("conn_rate", listener.accepted_per_second.round())
            .with("conn_tot", listener.accepted)
    }

    fn of_upstream(upstream: &UpstreamStats) -> Self {
        let count = |is_backup: bool| {
            let backends = upstream.backends.iter();
            let of_kind = backends.filter(|backend| backend.is_backup == is_backup);
            of_kind
                .filter(|backend| backend.condition == Condition::Available.label())
                .count()
        };
        let status = if upstream.available > 0 { "UP" } else { "DOWN" };
        let weights = upstream.backends.iter();
        let available = weights.filter(|backend| backend.condition == Condition::Available.label());
        let weight: u32 = available.map(|backend| u32::from(backend.weight)).sum();
        let server_failures: u64 = upstream
            .backends
            .iter()
            .map(|backend| backend.failures)
            .sum();
        let row = Self::new(&upstream.name, "BACKEND", 1, status, upstream.kind)
            .with("qcur", upstream.queue)
            .with("scur", upstream.in_flight)
            .with("stot", upstream.requests)
            .with("bin", upstream.bytes_received)
            .with("bout", upstream.bytes_sent)
            .with("eresp", server_failures)
            .with("weight", weight)
            .with("act", count(false))
            .with("bck", count(true))
            .with("rate", upstream.requests_per_second.round())
            .with("algo", algorithm(upstream.balance));
        let classes = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"];
        let by_class = classes.into_iter().zip(&upstream.by_class);
        by_class.fold(row, |row, (column, count)| row.with(column, count))
    }

    fn of_backend(upstream: &UpstreamStats, backend: &BackendView, now_ms: i64) -> Self {
        let is_active = u8::from(!backend.is_backup);
        let row = Self::new(
            &upstream.name,
            &backend.id,
            2,
            status(backend),
            upstream.kind,
        )
        .with("scur", backend.in_flight)
        .with("stot", backend.responses)
        .with("eresp", backend.failures)
        .with("weight", backend.weight)
        .with("act", is_active)
        .with("bck", 1 - is_active)
        .with("chkdown", backend.falls)
        .with("lbtot", backend.responses + backend.failures)
        .with("rate", backend.responses_per_second.round())
        .with("addr", &backend.address);
        let row = match backend.in_flight_max {
            Some(limit) => row.with("slim", limit),
            None => row,
        };
        let row = match backend.since_ms {
            Some(since) => row.with("lastchg", (now_ms - since) / 1000),
            None => row,
        };
        let Some(check) = &backend.check else {
            return row;
        };
        let outcome = check.failure.as_deref().unwrap_or("passed");
        row.with("check_duration", check.took_ms.round())
            .with("last_chk", outcome)
    }

    fn write(&self, text: &mut String) {
        for column in COLUMNS {
            let cells = self.0.iter();
            let value = cells.rev().find(|(name, _)| *name == column);
            if let Some((_, value)) = value {
                push_quoted(text, value);
            }
            text.push(',');
        }
        text.push('\n');
    }
}

/// HAProxy's word for a backend's condition.
fn status(backend: &BackendView) -> &'static str {
    match backend.condition {
        "available" if backend.check.is_none() => "no check",
        "available" => "UP",
        "draining" => "DRAIN",
        "disabled" => "MAINT",
        _ => "DOWN",
    }
}

/// HAProxy's word for a way of balancing.
fn algorithm(balance: &str) -> &'static str {
    match balance {
        "least_connections" => "leastconn",
        "random_two" => "random",
        "consistent_hash" => "hash",
        _ => "roundrobin",
    }
}

/// Quotes a value where it would break its row (RFC 4180 section 2).
fn push_quoted(text: &mut String, value: &str) {
    if !value.contains([',', '"', '\n', '\r']) {
        text.push_str(value);
        return;
    }
    text.push('"');
    text.push_str(&value.replace('"', "\"\""));
    text.push('"');
}

/// As HAProxy 2.6 has them, up to where those of its modules begin.
const COLUMNS: [&str; 103] = [
    "pxname",
    "svname",
    "qcur",
    "qmax",
    "scur",
    "smax",
    "slim",
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "lastchg",
    "downtime",
    "qlimit",
    "pid",
    "iid",
    "sid",
    "throttle",
    "lbtot",
    "tracked",
    "type",
    "rate",
    "rate_lim",
    "rate_max",
    "check_status",
    "check_code",
    "check_duration",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "hanafail",
    "req_rate",
    "req_rate_max",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "comp_in",
    "comp_out",
    "comp_byp",
    "comp_rsp",
    "lastsess",
    "last_chk",
    "last_agt",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
    "agent_status",
    "agent_code",
    "agent_duration",
    "check_desc",
    "agent_desc",
    "check_rise",
    "check_fall",
    "check_health",
    "agent_rise",
    "agent_fall",
    "agent_health",
    "addr",
    "cookie",
    "mode",
    "algo",
    "conn_rate",
    "conn_rate_max",
    "conn_tot",
    "intercepted",
    "dcon",
    "dses",
    "wrew",
    "connect",
    "reuse",
    "cache_lookups",
    "cache_hits",
    "srv_icur",
    "src_ilim",
    "qtime_max",
    "ctime_max",
    "rtime_max",
    "ttime_max",
    "eint",
    "idle_conn_cur",
    "safe_conn_cur",
    "used_conn_cur",
    "need_conn_est",
    "uweight",
    "agg_server_status",
    "agg_server_check_status",
    "agg_check_status",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        let mut text = String::new();
        for value in ["plain", "a,b", "a \"b\"", "a\nb"] {
            push_quoted(&mut text, value);
            text.push('|');
        }
        assert_eq!(text, "plain|\"a,b\"|\"a \"\"b\"\"\"|\"a\nb\"|");
    }

    /// Copies of the exporter read by position.
    #[test]
    fn columns_are_where_exporters_look() {
        for (index, name) in [
            (0, "pxname"),
            (17, "status"),
            (32, "type"),
            (33, "rate"),
            (43, "hrsp_5xx"),
        ] {
            assert_eq!(COLUMNS[index], name);
        }
    }
}
