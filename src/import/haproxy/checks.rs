//! `option …chk`, `http-check` and `tcp-check`: what a health check asks.

use crate::import::{
    haproxy::words::Line,
    plan::{HeaderRules, HttpProbe, Probe},
    remark::Remarks,
};

/// What `check` of a server means.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckOptions {
    pub(super) line: Option<usize>,
    pub(super) kind: CheckKind,
    http: Option<HttpProbe>,
    status: Option<String>,
    sends: Vec<String>,
    expects: Vec<String>,
    /// Who logs in to MySQL.
    user: Option<String>,
}

/// The `option` that says what is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum CheckKind {
    #[default]
    Connect,
    Http,
    TcpCheck,
    Postgres,
    Redis,
    Mysql,
}

impl CheckOptions {
    /// Another kind of check, which nothing is known of yet.
    pub(super) fn choose(&mut self, line: usize, kind: CheckKind) {
        self.line = Some(line);
        self.kind = kind;
    }

    /// `option mysql-check user NAME`.
    pub(super) fn mysql(&mut self, line: &Line) {
        self.choose(line.number, CheckKind::Mysql);
        let is_user = line.word(2) == "user" && !line.word(3).is_empty();
        self.user = is_user.then(|| line.word(3).to_owned());
    }

    /// What is probed.
    pub(super) fn probe(&self) -> Probe {
        let connect = Probe::Tcp {
            send: None,
            expect: None,
        };
        match self.kind {
            CheckKind::Connect => connect,
            CheckKind::Http => Probe::Http(HttpProbe {
                status: self.status.clone(),
                ..self.http.clone().unwrap_or_else(|| request("OPTIONS", "/"))
            }),
            CheckKind::Postgres => Probe::Postgres,
            CheckKind::Redis => Probe::Redis { is_primary: false },
            CheckKind::Mysql => Probe::Mysql {
                user: self.user.clone(),
            },
            CheckKind::TcpCheck => {
                let said = self.expects.concat();
                let asked = self.sends.concat();
                // The well-known sequence that looks for the primary of Redis.
                if said.contains("role:master") {
                    return Probe::Redis { is_primary: true };
                }
                if said.contains("+PONG") && asked.to_ascii_uppercase().contains("PING") {
                    return Probe::Redis { is_primary: false };
                }
                match (self.sends.as_slice(), self.expects.as_slice()) {
                    // What is sent and never answered tells no more than the connection.
                    (_, []) => connect,
                    (sends, expects) => Probe::Tcp {
                        send: sends.first().cloned(),
                        expect: expects.last().cloned(),
                    },
                }
            }
        }
    }

    /// Whether more is sent or awaited than a probe can.
    pub(super) fn is_shortened(&self) -> bool {
        matches!(self.probe(), Probe::Tcp { .. })
            && (self.sends.len() > 1 || self.expects.len() > 1)
    }

    /// `option httpchk [METHOD] PATH [VERSION]`
    pub(super) fn httpchk(&mut self, line: &Line, remarks: &mut Remarks) {
        self.choose(line.number, CheckKind::Http);
        let mut probe = match (line.word(2), line.word(3)) {
            ("", _) => request("OPTIONS", "/"),
            (path, "") => request("OPTIONS", path),
            (method, path) => request(method, path),
        };
        // The way to send headers before `http-check send`: behind the version.
        for header in line.word(4).split("\r\n").skip(1) {
            if let Some((name, value)) = header.split_once(':') {
                add_header(&mut probe, name.trim(), value.trim(), line, remarks);
            }
        }
        self.set_request(probe, line, remarks);
    }

    /// `http-check …`
    pub(super) fn http_check(&mut self, line: &Line, remarks: &mut Remarks) {
        match line.word(1) {
            "send" => self.http_send(line, remarks),
            "expect" => self.http_expect(line, remarks),
            "connect" if line.word(2).is_empty() => {}
            _ => remarks.left_out(line.number, &line.text(), "a check is one request"),
        }
    }

    fn http_send(&mut self, line: &Line, remarks: &mut Remarks) {
        let mut probe = self.http.clone().unwrap_or_else(|| request("GET", "/"));
        let mut words = line.rest(2).iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_default();
            match word {
                "meth" => probe.method = value().to_owned(),
                "uri" => probe.path = value().to_owned(),
                "ver" => {
                    let _version = value();
                }
                "hdr" => {
                    let name = value();
                    let text = words.next().unwrap_or_default();
                    add_header(&mut probe, name, text, line, remarks);
                }
                _ => {
                    let _value = value();
                    let what = format!("http-check send {word}");
                    remarks.left_out(
                        line.number,
                        &what,
                        "a check has a method, a path and headers",
                    );
                }
            }
        }
        self.set_request(probe, line, remarks);
    }

    fn http_expect(&mut self, line: &Line, remarks: &mut Remarks) {
        let words: Vec<&str> = line.rest(2).iter().map(String::as_str).collect();
        let status = match words.as_slice() {
            ["status", text] => statuses(text),
            ["rstatus", pattern] => pattern_statuses(pattern),
            _ => None,
        };
        match status {
            Some(status) => self.status = Some(status),
            None => remarks.left_out(
                line.number,
                &line.text(),
                "a check looks at one status or range of statuses, by default 200-399",
            ),
        }
    }

    /// `tcp-check …`
    pub(super) fn tcp_check(&mut self, line: &Line, remarks: &mut Remarks) {
        let is_full = self.sends.len() + self.expects.len() >= STEPS_MAX;
        match (line.word(1), line.word(2)) {
            ("connect", "") => {}
            ("comment", _) => {}
            ("send", text) if !is_full => self.sends.push(text.to_owned()),
            ("expect", "string") if !is_full => self.expects.push(line.word(3).to_owned()),
            _ => remarks.left_out(line.number, &line.text(), "a TCP connect is checked"),
        }
    }

    fn set_request(&mut self, probe: HttpProbe, line: &Line, remarks: &mut Remarks) {
        let is_method = ["GET", "HEAD", "POST", "PUT", "OPTIONS"].contains(&probe.method.as_str());
        let is_path = http::uri::PathAndQuery::try_from(probe.path.as_str()).is_ok();
        if is_method && is_path && probe.path.starts_with('/') {
            self.http = Some(probe);
        } else {
            let reason = "a check is GET, HEAD, POST, PUT or OPTIONS and a path";
            remarks.left_out(line.number, &line.text(), reason);
        }
    }
}

fn request(method: &str, path: &str) -> HttpProbe {
    HttpProbe {
        method: method.to_owned(),
        path: path.to_owned(),
        host: None,
        headers: Vec::new(),
        status: None,
    }
}

fn add_header(probe: &mut HttpProbe, name: &str, value: &str, line: &Line, remarks: &mut Remarks) {
    let mut rules = HeaderRules {
        set: std::mem::take(&mut probe.headers),
        remove: Vec::new(),
    };
    let added = rules.set(name, value);
    let is_host = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
    let (host, headers): (Vec<_>, Vec<_>) = rules.set.into_iter().partition(is_host);
    probe.headers = headers;
    if let Some((_, host)) = host.into_iter().next() {
        probe.host = Some(host);
    }
    // HAProxy needs it to close, Weir closes by itself.
    if let Err(reason) = added
        && !name.eq_ignore_ascii_case("connection")
    {
        remarks.left_out(line.number, &format!("header {name} of the check"), reason);
    }
}

/// One status, or a range.
fn statuses(text: &str) -> Option<String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let bound = |text: &str| {
        text.parse()
            .ok()
            .filter(|status| (100..=599u16).contains(status))
    };
    let (first, last) = (bound(first)?, bound(last)?);
    match first.cmp(&last) {
        std::cmp::Ordering::Less => Some(format!("{first}-{last}")),
        std::cmp::Ordering::Equal => Some(first.to_string()),
        std::cmp::Ordering::Greater => None,
    }
}

/// The patterns that say which hundreds.
fn pattern_statuses(pattern: &str) -> Option<String> {
    let bare = pattern.trim_start_matches('^').trim_end_matches('$');
    let hundreds = bare
        .trim_end_matches("[0-9][0-9]")
        .trim_end_matches("[0-9]{2}")
        .trim_end_matches("\\d\\d")
        .trim_end_matches("\\d{2}")
        .trim_end_matches("..")
        .trim_matches(['(', ')', '[', ']']);
    let range = match hundreds {
        "2" => "200-299",
        "3" => "300-399",
        "23" | "2|3" | "2-3" => "200-399",
        "2-4" | "234" | "2|3|4" => "200-499",
        _ => return None,
    };
    Some(range.to_owned())
}

/// Of one check. Sections copy those that they inherit.
const STEPS_MAX: usize = 32;
