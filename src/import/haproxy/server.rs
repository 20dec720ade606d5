//! `server`, `default-server` and `server-template`.

use std::time::Duration;

use crate::import::{
    haproxy::{
        proxy::Proxy,
        units::{HostPort, host_port, time},
        words::Line,
    },
    remark::Remarks,
};

/// A server of a backend or listen.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) addr: HostPort,
    pub(super) settings: ServerSettings,
}

/// What a server may inherit from `default-server`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServerSettings {
    pub(super) is_checked: bool,
    pub(super) inter: Option<Duration>,
    pub(super) rise: Option<u32>,
    pub(super) fall: Option<u32>,
    pub(super) weight: Option<u32>,
    pub(super) is_backup: bool,
    pub(super) is_disabled: bool,
    pub(super) maxconn: Option<u32>,
    pub(super) send_proxy: Option<&'static str>,
    pub(super) closes_sessions: bool,
    pub(super) slowstart: Option<Duration>,
    pub(super) is_tls: bool,
    pub(super) is_h2: bool,
    pub(super) ca_file: Option<String>,
    pub(super) server_name: Option<String>,
    pub(super) observes: bool,
    pub(super) error_limit: Option<u32>,
    pub(super) check_port: Option<u16>,
    pub(super) marks_down_on_error: bool,
}

/// Reads `server NAME ADDRESS PARAMETER…`.
pub(super) fn server(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let what = line.head(3);
    let Some(addr) = host_port(line.word(2)) else {
        return remarks.left_out(line.number, &what, "Weir connects to HOST:PORT");
    };
    let mut settings = proxy.settings.server.clone();
    parameters(&mut settings, line, 3, remarks);
    proxy.servers.push(Server {
        line: line.number,
        name: line.word(1).to_owned(),
        addr,
        settings,
    });
}

/// Reads `server-template PREFIX COUNT HOST:PORT PARAMETER…`: to Weir, a name is all its addresses.
pub(super) fn template(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let Some(addr) = host_port(line.word(3)) else {
        return remarks.left_out(line.number, &line.head(4), "Weir connects to HOST:PORT");
    };
    let reason = "one backend stands for all addresses of the name";
    remarks.not_needed(line.number, &line.head(3), reason);
    let mut settings = proxy.settings.server.clone();
    parameters(&mut settings, line, 4, remarks);
    proxy.servers.push(Server {
        line: line.number,
        name: line.word(1).to_owned(),
        addr,
        settings,
    });
}

/// Reads `default-server PARAMETER…`.
pub(super) fn default_server(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let mut settings = std::mem::take(&mut proxy.settings.server);
    parameters(&mut settings, line, 1, remarks);
    proxy.settings.server = settings;
}

fn parameters(settings: &mut ServerSettings, line: &Line, from: usize, remarks: &mut Remarks) {
    let mut words = line.rest(from).iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut reader = Reader {
            word,
            what: format!("{} {word}", line.head(2.min(from))),
            line: line.number,
            words: &mut words,
            remarks,
        };
        if !(reader.checks(settings) || reader.traffic(settings) || reader.tls(settings)) {
            reader.others();
        }
    }
}

/// One parameter with the words behind it.
struct Reader<'a, 'b, I> {
    word: &'a str,
    what: String,
    line: usize,
    words: &'b mut I,
    remarks: &'b mut Remarks,
}

impl<'a, I: Iterator<Item = &'a str>> Reader<'a, '_, I> {
    fn checks(&mut self, settings: &mut ServerSettings) -> bool {
        match self.word {
            "check" => settings.is_checked = true,
            "no-check" => settings.is_checked = false,
            "inter" => settings.inter = self.time().or(settings.inter),
            "fastinter" => {
                let _time = self.time();
                self.nearly("Weir checks four times as often while results disagree");
            }
            "downinter" => {
                let _time = self.time();
                self.left_out("a backend that is down is checked as often as the others");
            }
            "rise" => settings.rise = self.number().or(settings.rise),
            "fall" => settings.fall = self.number().or(settings.fall),
            "on-marked-down" => {
                let action = self.words.next();
                settings.closes_sessions = action == Some("shutdown-sessions");
            }
            "on-marked-up" => {
                let _action = self.words.next();
                self.left_out("sessions of a backup stay until they end");
            }
            "observe" => settings.observes = self.words.next().is_some(),
            "error-limit" => settings.error_limit = self.number(),
            "on-error" => settings.marks_down_on_error = self.words.next() == Some("mark-down"),
            "port" => {
                let port = self.number().and_then(|port| u16::try_from(port).ok());
                settings.check_port = port.filter(|&port| port > 0);
            }
            "addr" | "check-proto" | "check-sni" | "check-alpn" => {
                let _value = self.words.next();
                self.left_out("a backend is checked where its requests go");
            }
            "check-ssl" | "check-send-proxy" | "check-via-socks4" => {
                self.left_out("a backend is checked as its requests are sent");
            }
            "agent-check" | "agent-send" | "agent-inter" | "agent-addr" | "agent-port" => {
                if self.word != "agent-check" {
                    let _value = self.words.next();
                }
                self.left_out("Weir asks no agent; the admin API changes weights and states");
            }
            "track" => {
                let _server = self.words.next();
                self.left_out("every backend has checks of its own");
            }
            _ => return false,
        }
        true
    }

    fn traffic(&mut self, settings: &mut ServerSettings) -> bool {
        match self.word {
            "weight" => settings.weight = self.number().or(settings.weight),
            "backup" => settings.is_backup = true,
            "non-backup" => settings.is_backup = false,
            "disabled" => settings.is_disabled = true,
            "enabled" => settings.is_disabled = false,
            "maxconn" => settings.maxconn = self.number().filter(|count| *count > 0),
            "slowstart" => settings.slowstart = self.time(),
            "send-proxy" => settings.send_proxy = Some("v1"),
            "send-proxy-v2" | "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => {
                settings.send_proxy = Some("v2");
            }
            "no-send-proxy" | "no-send-proxy-v2" => settings.send_proxy = None,
            "resolvers" | "resolve-prefer" | "resolve-net" | "resolve-opts" | "init-addr" => {
                let _value = self.words.next();
                self.not_needed("Weir looks names up by itself and follows their time to live");
            }
            "maxqueue" => {
                let _count = self.words.next();
                self.left_out("queue.length holds for the whole upstream");
            }
            "minconn" => {
                let _count = self.words.next();
                self.left_out("max_requests does not grow with the load");
            }
            "cookie" => {
                let _value = self.words.next();
                self.left_out(
                    "Weir sets no cookies; hash_by: cookie:NAME keeps clients by one of yours",
                );
            }
            "source" | "usesrc" | "interface" | "namespace" | "tcp-ut" | "socks4" => {
                let _value = self.words.next();
                self.left_out("the system chooses how Weir connects");
            }
            "pool-max-conn" | "pool-purge-delay" | "pool-low-conn" | "max-reuse" => {
                let _value = self.words.next();
                self.not_needed("Weir keeps connections by itself");
            }
            _ => return false,
        }
        true
    }

    fn tls(&mut self, settings: &mut ServerSettings) -> bool {
        match self.word {
            "ssl" => settings.is_tls = true,
            "no-ssl" => settings.is_tls = false,
            "verify" => {
                if self.words.next() == Some("none") {
                    self.nearly("Weir always verifies certificates");
                }
            }
            "verifyhost" => settings.server_name = self.words.next().map(str::to_owned),
            "sni" => {
                let name = self.words.next().unwrap_or_default();
                let literal = name
                    .strip_prefix("str(")
                    .and_then(|rest| rest.strip_suffix(')'));
                match literal {
                    Some(name) => settings.server_name = Some(name.to_owned()),
                    None => self.nearly("the certificate is that of the backend's host"),
                }
            }
            "ca-file" => settings.ca_file = self.words.next().map(str::to_owned),
            "proto" => settings.is_h2 = self.words.next() == Some("h2"),
            "alpn" => {
                let _protocols = self.words.next();
                self.not_needed("Weir speaks what the backend can");
            }
            "crt" => {
                let _file = self.words.next();
                self.left_out("Weir shows backends no certificate");
            }
            "ciphers" | "ciphersuites" | "crl-file" | "ssl-min-ver" | "ssl-max-ver" | "npn" => {
                let _value = self.words.next();
                self.left_out("Weir chooses versions and ciphers by itself");
            }
            "no-sslv3" | "no-tlsv10" | "no-tlsv11" | "no-tls-tickets" | "no-ssl-reuse"
            | "force-tlsv12" | "force-tlsv13" => {
                self.not_needed("Weir speaks TLS 1.2 and 1.3 only");
            }
            _ => return false,
        }
        true
    }

    fn others(&mut self) {
        match self.word {
            "id" | "on" | "log-proto" | "redir" => {
                let _value = self.words.next();
                self.left_out("Weir has no equivalent");
            }
            _ => self.left_out("Weir has no equivalent"),
        }
    }

    fn time(&mut self) -> Option<Duration> {
        let text = self.words.next().unwrap_or_default();
        let time = time(text);
        if time.is_none() {
            self.left_out("its value is no time");
        }
        time
    }

    fn number(&mut self) -> Option<u32> {
        let number = self.words.next().unwrap_or_default().parse().ok();
        if number.is_none() {
            self.left_out("its value is no number");
        }
        number
    }

    fn left_out(&mut self, reason: &str) {
        self.remarks.left_out(self.line, &self.what, reason);
    }

    fn nearly(&mut self, reason: &str) {
        self.remarks.nearly(self.line, &self.what, reason);
    }

    fn not_needed(&mut self, reason: &str) {
        self.remarks.not_needed(self.line, &self.what, reason);
    }
}
