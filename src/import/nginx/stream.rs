//! `stream`: each address of a server is a TCP listener.

use crate::import::{
    nginx::{
        listen::{self, Listen},
        settings::Settings,
        targets::{Targets, Use},
        tree::Directive,
        upstream::Definition,
    },
    plan::{Names, Plan, Scheme, TcpListener},
    remark::Remarks,
};

/// Reads what stands in `stream`.
pub(super) fn read(
    directives: &[&Directive],
    plan: &mut Plan,
    names: &mut Names,
    remarks: &mut Remarks,
) {
    let mut targets = Targets::default();
    for directive in directives
        .iter()
        .filter(|directive| directive.name == "upstream")
    {
        let definition = Definition::read(directive, remarks);
        targets.define(directive.argument(0), definition, remarks);
    }
    let mut settings = Settings::default();
    let is_read_here =
        |directive: &Directive| matches!(directive.name.as_str(), "upstream" | "server");
    settings.read(directives.iter().copied(), is_read_here, remarks);
    for directive in directives
        .iter()
        .filter(|directive| directive.name == "server")
    {
        server(directive, &settings, plan, &mut targets, names, remarks);
    }
    targets.tell_unused(remarks);
    plan.upstreams.append(&mut targets.upstreams);
}

fn server(
    directive: &Directive,
    inherited: &Settings,
    plan: &mut Plan,
    targets: &mut Targets,
    names: &mut Names,
    remarks: &mut Remarks,
) {
    let mut settings = inherited.clone();
    let is_read_here =
        |directive: &Directive| matches!(directive.name.as_str(), "listen" | "proxy_pass");
    settings.read(directive.children().iter(), is_read_here, remarks);
    let mut listens: Vec<Listen> = Vec::new();
    let mut pass = None;
    for inner in directive.children() {
        match inner.name.as_str() {
            "listen" => listens.extend(listen::listen(inner, remarks)),
            "proxy_pass" => pass = Some(inner),
            _ => {}
        }
    }
    if listens.is_empty() {
        return;
    }
    let Some(pass) = pass else {
        return remarks.left_out(directive.line, "server", "it leads nowhere");
    };
    let used = Use {
        line: pass.line,
        authority: pass.argument(0),
        scheme: Scheme::Tcp,
        settings: &settings,
    };
    let is_plain = !used.authority.contains('$') && !used.authority.starts_with("unix:");
    let upstream = is_plain
        .then(|| targets.find(&used, names, remarks))
        .flatten();
    let Some(upstream) = upstream else {
        let reason = "Weir needs an upstream, or a host and a port, without variables";
        return remarks.left_out(pass.line, &pass.text(), reason);
    };
    for listen in listens {
        let networks = settings.trusted.to_vec();
        if listen.is_proxied && networks.is_empty() {
            let reason = "proxy_protocol_from: [NETWORK] names the proxies in front";
            remarks.left_out(listen.line, "listen proxy_protocol", reason);
        }
        if !plan.has_room(0) {
            remarks.left_out(listen.line, "listen", "there are too many listeners");
            continue;
        }
        plan.tcp.push(TcpListener {
            line: listen.line,
            listen: listen.addr,
            upstream: upstream.clone(),
            idle_timeout: Some(settings.session_timeout),
            half_open_timeout: None,
            proxy_protocol_from: if listen.is_proxied {
                networks
            } else {
                Vec::new()
            },
        });
    }
}
