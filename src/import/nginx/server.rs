//! `server` of `http`: addresses, names and routes.

use crate::import::{
    nginx::{
        listen::{self, Listen},
        location::{Context, LocationRoute},
        settings::Settings,
        tree::Directive,
    },
    plan::{Names, host_name},
    remark::Remarks,
};

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) line: usize,
    pub(super) listens: Vec<Listen>,
    /// The names that a route can have.
    pub(super) hosts: Vec<String>,
    /// The names that it cannot have, as they stand.
    pub(super) patterns: Vec<String>,
    pub(super) routes: Vec<LocationRoute>,
    pub(super) trusted: Vec<String>,
}

impl Server {
    /// Reads `server { … }`.
    pub(super) fn read(
        directive: &Directive,
        inherited: &Settings,
        context: &mut Context,
        names: &mut Names,
        remarks: &mut Remarks,
    ) -> Self {
        let mut settings = inherited.clone();
        settings.read(directive.children().iter(), is_of_servers, remarks);
        let mut server = Self {
            line: directive.line,
            listens: Vec::new(),
            hosts: Vec::new(),
            patterns: Vec::new(),
            routes: Vec::new(),
            trusted: settings.trusted.to_vec(),
        };
        let mut has_listen = false;
        for inner in directive.children() {
            match inner.name.as_str() {
                "listen" => {
                    has_listen = true;
                    server.listens.extend(listen::listen(inner, remarks));
                }
                "server_name" => inner.arguments.iter().for_each(|name| server.name(name)),
                "location" => {
                    context.location(inner, &settings, names, &mut server.routes, remarks);
                }
                _ => {}
            }
        }
        if !has_listen {
            server.listens.push(listen::usual(directive.line));
        }
        for listen in server.listens.iter().filter(|listen| listen.is_proxied) {
            let reason = "a listener of http takes no PROXY header";
            remarks.left_out(listen.line, "listen proxy_protocol", reason);
        }
        server
    }

    fn name(&mut self, name: &str) {
        // These stand for no host, or any.
        if matches!(name, "" | "_") {
            return;
        }
        match host_name(name) {
            Some(host) if !name.contains('*') && !name.starts_with('~') => self.hosts.push(host),
            _ => self.patterns.push(name.to_owned()),
        }
    }
}

/// What [`Server::read`] reads itself.
fn is_of_servers(directive: &Directive) -> bool {
    matches!(
        directive.name.as_str(),
        "listen" | "server_name" | "location"
    )
}
