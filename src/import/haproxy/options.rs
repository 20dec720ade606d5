//! `option` of a section.

use crate::import::{
    haproxy::{
        checks::CheckKind,
        proxy::{Proxy, Settings},
        words::Line,
    },
    remark::Remarks,
};

/// Reads `option NAME …`.
pub(super) fn option(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let settings = &mut proxy.settings;
    let what = line.head(2);
    let number = line.number;
    match line.word(1) {
        "httplog" | "tcplog" | "httpslog" => settings.logs = Some(number),
        "httpchk" => settings.check.httpchk(line, remarks),
        "tcp-check" => settings.check.choose(number, CheckKind::TcpCheck),
        "pgsql-check" => settings.check.choose(number, CheckKind::Postgres),
        "redis-check" => settings.check.choose(number, CheckKind::Redis),
        "mysql-check" => settings.check.mysql(line),
        "smtpchk" | "ldap-check" | "ssl-hello-chk" | "spop-check" | "external-check" => {
            settings.check.choose(number, CheckKind::Connect);
            remarks.nearly(number, &what, "a TCP connect is checked");
        }
        "forwardfor" => forwardfor(line, remarks),
        "redispatch" => remarks.not_needed(number, &what, "Weir always tries another backend"),
        "http-server-close"
        | "http-keep-alive"
        | "httpclose"
        | "forceclose"
        | "http-pretend-keepalive"
        | "http-tunnel" => {
            remarks.not_needed(number, &what, "Weir keeps connections on both sides");
        }
        "prefer-last-server"
        | "http-buffer-request"
        | "http-no-delay"
        | "http-use-htx"
        | "tcp-smart-accept"
        | "tcp-smart-connect"
        | "splice-auto"
        | "splice-request"
        | "splice-response"
        | "clitcpka"
        | "srvtcpka"
        | "tcpka"
        | "nolinger"
        | "contstats"
        | "socket-stats"
        | "accept-invalid-http-request"
        | "idle-close-on-response" => {
            remarks.not_needed(number, &what, "Weir has no such switch");
        }
        "dontlognull"
        | "dontlog-normal"
        | "log-health-checks"
        | "log-separate-errors"
        | "logasap" => {
            remarks.not_needed(
                number,
                &what,
                "health and faults are events, requests are in access_log",
            );
        }
        "allbackups" => settings.uses_all_backups = true,
        "transparent" => remarks.left_out(number, &what, "Weir connects to its backends alone"),
        "abortonclose" => {
            remarks.not_needed(number, &what, "a client that leaves is out of the queue")
        }
        "persist" => remarks.left_out(number, &what, "a backend that is down gets nothing"),
        _ => remarks.left_out(number, &line.text(), "Weir has no equivalent"),
    }
}

/// Takes an option back.
pub(super) fn no_option(settings: &mut Settings, line: &Line, remarks: &mut Remarks) {
    match line.word(2) {
        "httplog" | "tcplog" | "httpslog" => settings.logs = None,
        "httpchk" | "tcp-check" | "pgsql-check" | "redis-check" | "mysql-check" => {
            settings.check.choose(line.number, CheckKind::Connect);
            settings.check.line = None;
        }
        "forwardfor" => remarks.left_out(
            line.number,
            &line.text(),
            "Weir always sends X-Forwarded-For",
        ),
        "redispatch" => remarks.left_out(
            line.number,
            &line.text(),
            "Weir always tries another backend",
        ),
        _ => {}
    }
}

fn forwardfor(line: &Line, remarks: &mut Remarks) {
    let what = line.head(2);
    if line.words.iter().any(|word| word == "header") {
        return remarks.left_out(line.number, &line.text(), "the header is X-Forwarded-For");
    }
    remarks.not_needed(line.number, &what, "Weir always sends X-Forwarded-For");
}
