//! What a block inherits from the one around it.

use std::{rc::Rc, time::Duration};

use crate::import::{
    nginx::{
        others,
        proxy_headers::{self, ClientHost},
        rate_limits::LimitReq,
        tree::Directive,
        units::{size, time},
    },
    plan::{BodyLimit, HeaderRules},
    remark::Remarks,
};

/// The settings of a block.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) send_timeout: Duration,
    /// `proxy_timeout` of `stream`.
    pub(super) session_timeout: Duration,
    pub(super) body_limit: BodyLimit,
    pub(super) request: Rc<HeaderRules>,
    pub(super) host: ClientHost,
    /// Whether a client's `Upgrade` is passed on.
    pub(super) upgrades: bool,
    /// `proxy_hide_header`
    pub(super) hidden: Rc<HeaderRules>,
    /// `add_header`
    pub(super) added: Rc<HeaderRules>,
    pub(super) limit: Option<LimitReq>,
    pub(super) is_dry_run: bool,
    pub(super) sends_proxy_protocol: bool,
    pub(super) ca_file: Option<String>,
    pub(super) server_name: Option<String>,
    /// `set_real_ip_from`
    pub(super) trusted: Rc<Vec<String>>,
}

impl Default for Settings {
    /// nginx's own.
    fn default() -> Self {
        Self {
            connect_timeout: MINUTE,
            read_timeout: MINUTE,
            send_timeout: MINUTE,
            session_timeout: MINUTE * 10,
            body_limit: BodyLimit::Bytes(1 << 20),
            request: Rc::default(),
            host: ClientHost::Replaced,
            upgrades: false,
            hidden: Rc::default(),
            added: Rc::default(),
            limit: None,
            is_dry_run: false,
            sends_proxy_protocol: false,
            ca_file: None,
            server_name: None,
            trusted: Rc::default(),
        }
    }
}

impl Settings {
    /// Reads the directives of a block, but for those that `is_known` elsewhere.
    pub(super) fn read<'a>(
        &mut self,
        directives: impl Iterator<Item = &'a Directive>,
        is_known: impl Fn(&Directive) -> bool,
        remarks: &mut Remarks,
    ) {
        let mut lists = Lists::default();
        for directive in directives.filter(|directive| !is_known(directive)) {
            let is_read = self.list(&mut lists, directive, remarks)
                || self.time(directive, remarks)
                || self.value(directive, remarks);
            if !is_read {
                others::other(directive, remarks);
            }
        }
    }

    fn time(&mut self, directive: &Directive, remarks: &mut Remarks) -> bool {
        let slot = match directive.name.as_str() {
            "proxy_connect_timeout" | "grpc_connect_timeout" => &mut self.connect_timeout,
            "proxy_read_timeout" | "grpc_read_timeout" => &mut self.read_timeout,
            "proxy_send_timeout" | "grpc_send_timeout" => &mut self.send_timeout,
            "proxy_timeout" => &mut self.session_timeout,
            _ => return false,
        };
        match time(directive.argument(0)) {
            Some(time) => *slot = time,
            None => remarks.left_out(
                directive.line,
                &directive.text(),
                "this is no time such as 30s",
            ),
        }
        true
    }

    /// What one directive says alone.
    fn value(&mut self, directive: &Directive, remarks: &mut Remarks) -> bool {
        let value = directive.argument(0);
        let is_on = value == "on";
        let what = directive.text();
        match directive.name.as_str() {
            "client_max_body_size" => match size(value) {
                Some(0) => self.body_limit = BodyLimit::Unlimited,
                Some(bytes) => self.body_limit = BodyLimit::Bytes(bytes),
                None => remarks.left_out(directive.line, &what, "this is no size such as 10m"),
            },
            "limit_req_dry_run" => self.is_dry_run = is_on,
            "proxy_protocol" => self.sends_proxy_protocol = is_on,
            "proxy_ssl_trusted_certificate" | "grpc_ssl_trusted_certificate" => {
                match value.starts_with('/') {
                    true => self.ca_file = Some(value.to_owned()),
                    false => {
                        remarks.left_out(directive.line, &what, "tls.ca_file needs the whole path")
                    }
                }
            }
            "proxy_ssl_name" | "grpc_ssl_name" => match crate::import::plan::host_name(value) {
                Some(name) => self.server_name = Some(name),
                None => remarks.left_out(directive.line, &what, "this is no host name"),
            },
            _ => return false,
        }
        true
    }

    /// What a block takes over whole, or says anew.
    fn list(&mut self, lists: &mut Lists, directive: &Directive, remarks: &mut Remarks) -> bool {
        match directive.name.as_str() {
            "proxy_set_header" | "grpc_set_header" => {
                if !std::mem::replace(&mut lists.has_request, true) {
                    self.request = Rc::default();
                    self.host = ClientHost::Replaced;
                    self.upgrades = false;
                }
                proxy_headers::request(self, directive, remarks);
            }
            "proxy_hide_header" | "grpc_hide_header" => {
                if !std::mem::replace(&mut lists.has_hidden, true) {
                    self.hidden = Rc::default();
                }
                let rules = Rc::make_mut(&mut self.hidden);
                if let Err(reason) = rules.remove(directive.argument(0)) {
                    remarks.left_out(directive.line, &directive.text(), reason);
                }
            }
            "add_header" => {
                if !std::mem::replace(&mut lists.has_added, true) {
                    self.added = Rc::default();
                }
                proxy_headers::response(Rc::make_mut(&mut self.added), directive, remarks);
            }
            "limit_req" => {
                if !std::mem::replace(&mut lists.has_limit, true) {
                    self.limit = None;
                }
                match self.limit {
                    None => self.limit = Some(LimitReq::read(directive, remarks)),
                    Some(_) => remarks.left_out(
                        directive.line,
                        &directive.text(),
                        "a route has one limit of its own",
                    ),
                }
            }
            "set_real_ip_from" => {
                if !std::mem::replace(&mut lists.has_trusted, true) {
                    self.trusted = Rc::default();
                }
                let network = directive.argument(0);
                let is_network = network.parse::<ipnet::IpNet>().is_ok()
                    || network.parse::<std::net::IpAddr>().is_ok();
                match is_network && self.trusted.len() < NETWORKS_MAX {
                    true => Rc::make_mut(&mut self.trusted).push(network.to_owned()),
                    false => remarks.left_out(
                        directive.line,
                        &directive.text(),
                        "this is no network such as 10.0.0.0/8",
                    ),
                }
            }
            _ => return false,
        }
        true
    }
}

/// Which lists a block has begun anew.
#[derive(Debug, Default)]
struct Lists {
    has_request: bool,
    has_hidden: bool,
    has_added: bool,
    has_limit: bool,
    has_trusted: bool,
}

const MINUTE: Duration = Duration::from_secs(60);
const NETWORKS_MAX: usize = 100;
