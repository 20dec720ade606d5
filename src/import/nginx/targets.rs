//! Upstreams as they are used: an nginx upstream has its scheme and timeouts from what leads to it.

use std::{collections::HashMap, time::Duration};

use crate::import::{
    nginx::{
        settings::Settings,
        upstream::{Definition, host_port},
    },
    plan::{Backend, Names, Scheme, State, Upstream},
    remark::Remarks,
};

/// The upstreams of `http` or `stream`.
#[derive(Debug, Default)]
pub(super) struct Targets {
    definitions: HashMap<String, Definition>,
    made: HashMap<(String, Scheme), usize>,
    pub(super) upstreams: Vec<Upstream>,
}

/// What leads to an upstream.
pub(super) struct Use<'a> {
    pub(super) line: usize,
    /// A name of an upstream, or `HOST:PORT`.
    pub(super) authority: &'a str,
    pub(super) scheme: Scheme,
    pub(super) settings: &'a Settings,
}

impl Targets {
    pub(super) fn define(&mut self, name: &str, definition: Definition, remarks: &mut Remarks) {
        let line = definition.line;
        if self
            .definitions
            .insert(name.to_owned(), definition)
            .is_some()
        {
            remarks.left_out(
                line,
                &format!("upstream {name}"),
                "this later one of the name counts",
            );
        }
    }

    /// The name of the upstream that something leads to; `None` if it is no address.
    pub(super) fn find(
        &mut self,
        used: &Use<'_>,
        names: &mut Names,
        remarks: &mut Remarks,
    ) -> Option<String> {
        let key = (used.authority.to_owned(), used.scheme);
        if let Some(&index) = self.made.get(&key) {
            let upstream = self.upstreams.get_mut(index)?;
            keep_longest(upstream, used, remarks);
            return Some(upstream.name.clone());
        }
        let upstream = self.make(used, names, remarks)?;
        let name = upstream.name.clone();
        self.made.insert(key, self.upstreams.len());
        self.upstreams.push(upstream);
        Some(name)
    }

    /// Names those that nothing leads to.
    pub(super) fn tell_unused(&self, remarks: &mut Remarks) {
        let used: std::collections::HashSet<&str> =
            self.made.keys().map(|(name, _)| name.as_str()).collect();
        for (name, definition) in &self.definitions {
            if !used.contains(name.as_str()) {
                let what = format!("upstream {name}");
                remarks.left_out(
                    definition.line,
                    &what,
                    "nothing that was imported leads to it",
                );
            }
        }
    }

    fn make(&self, used: &Use<'_>, names: &mut Names, remarks: &mut Remarks) -> Option<Upstream> {
        let authority = used.authority;
        let (definition, wanted) = match self.definitions.get(authority) {
            Some(definition) => (definition.clone(), authority.to_owned()),
            None => (
                self.single(used)?,
                authority
                    .trim_matches(['[', ']'])
                    .replace([':', '[', ']'], "-"),
            ),
        };
        let what = format!("upstream {authority}");
        let name = names.take(remarks, definition.line, &what, &wanted);
        let settings = used.settings;
        let mut upstream = Upstream::new(definition.line, name, used.scheme);
        upstream.balance = definition.balance;
        upstream.backends = definition.backends;
        for backend in &mut upstream.backends {
            backend.scheme = used.scheme;
        }
        upstream.ejection = definition.ejection;
        upstream.slow_start = definition.slow_start;
        upstream.max_sessions = definition.max_conns;
        // nginx has no queue: what finds no place is refused.
        upstream.queue_length = definition.max_conns.map(|_| 0);
        upstream.connect_timeout = Some(settings.connect_timeout);
        upstream.response_timeout = Some(settings.read_timeout);
        upstream.idle_timeout = Some(idle_timeout(used));
        upstream.send_proxy_protocol = settings.sends_proxy_protocol.then_some("v1");
        upstream.ca_file.clone_from(&settings.ca_file);
        upstream.server_name.clone_from(&settings.server_name);
        if used.scheme == Scheme::Https {
            let reason =
                "Weir always verifies certificates, by tls.ca_file or Mozilla's authorities";
            remarks.nearly(used.line, &format!("https://{authority}"), reason);
        }
        Some(upstream)
    }

    fn single(&self, used: &Use<'_>) -> Option<Definition> {
        let port = match used.scheme {
            Scheme::Http | Scheme::H2c | Scheme::Tcp => 80,
            Scheme::Https => 443,
        };
        let (host, port) = host_port(used.authority, port)?;
        crate::import::plan::backend_url(used.scheme, &host, port)?;
        Some(Definition::of_backend(Backend {
            line: used.line,
            host,
            port,
            scheme: used.scheme,
            weight: 1,
            state: State::Enabled,
            is_backup: false,
        }))
    }
}

fn idle_timeout(used: &Use<'_>) -> Duration {
    match used.scheme {
        Scheme::Tcp => used.settings.session_timeout,
        Scheme::Http | Scheme::Https | Scheme::H2c => {
            used.settings.read_timeout.max(used.settings.send_timeout)
        }
    }
}

/// An upstream has one value of each timeout: the longest that leads to it.
fn keep_longest(upstream: &mut Upstream, used: &Use<'_>, remarks: &mut Remarks) {
    let settings = used.settings;
    let idle = idle_timeout(used);
    let mut is_same = true;
    for (kept, wanted) in [
        (&mut upstream.connect_timeout, settings.connect_timeout),
        (&mut upstream.response_timeout, settings.read_timeout),
        (&mut upstream.idle_timeout, idle),
    ] {
        is_same &= *kept == Some(wanted);
        *kept = (*kept).max(Some(wanted));
    }
    if !is_same {
        let what = format!("timeouts of {}", used.authority);
        remarks.nearly(
            used.line,
            &what,
            "an upstream has one of each, here the longest",
        );
    }
}
