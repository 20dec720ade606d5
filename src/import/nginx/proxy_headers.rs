//! `proxy_set_header` and `add_header`: what Weir sends anyway, what it can set, and what it cannot.

use std::rc::Rc;

use crate::import::{
    nginx::{settings::Settings, tree::Directive},
    plan::HeaderRules,
    remark::Remarks,
};

/// What a backend sees as `Host`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClientHost {
    /// The client's, as Weir sends it.
    Kept,
    /// The name of what is proxied to, nginx's default, or what is set.
    Replaced,
}

/// Reads `proxy_set_header NAME VALUE`.
pub(super) fn request(settings: &mut Settings, directive: &Directive, remarks: &mut Remarks) {
    let (name, value) = (directive.argument(0), directive.argument(1));
    let what = directive.text();
    let line = directive.line;
    let lower = name.to_ascii_lowercase();
    match (lower.as_str(), value) {
        ("host", "$host" | "$http_host" | "$host:$server_port") => {
            settings.host = ClientHost::Kept;
            remarks.not_needed(line, &what, "Weir keeps the client's Host");
        }
        ("host", "$proxy_host") => {}
        ("upgrade", "$http_upgrade") => {
            settings.upgrades = true;
            remarks.not_needed(line, &what, "upgrades lets WebSocket pass");
        }
        ("connection", _) => {
            remarks.not_needed(line, &what, "Weir keeps connections to backends by itself");
        }
        ("x-real-ip", "$remote_addr")
        | ("x-forwarded-for", "$proxy_add_x_forwarded_for" | "$remote_addr")
        | ("x-forwarded-proto", "$scheme")
        | ("x-forwarded-host", "$host" | "$http_host" | "$server_name")
        | ("x-request-id", "$request_id") => {
            remarks.not_needed(line, &what, format!("Weir always sends {name}"));
        }
        (_, "") => {
            let removed = Rc::make_mut(&mut settings.request).remove(name);
            if let Err(reason) = removed {
                remarks.left_out(line, &what, reason);
            }
        }
        _ if value.contains('$') => {
            remarks.left_out(line, &what, "values of headers have no variables");
        }
        _ => {
            let set = Rc::make_mut(&mut settings.request).set(name, value);
            if let Err(reason) = set {
                remarks.left_out(line, &what, reason);
            }
        }
    }
}

/// Reads `add_header NAME VALUE [always]`.
pub(super) fn response(rules: &mut HeaderRules, directive: &Directive, remarks: &mut Remarks) {
    let (name, value) = (directive.argument(0), directive.argument(1));
    let (line, what) = (directive.line, directive.text());
    if value.contains('$') {
        return remarks.left_out(line, &what, "values of headers have no variables");
    }
    let is_known = |(other, _): &(String, String)| other.eq_ignore_ascii_case(name);
    if rules.set.iter().any(is_known) {
        return remarks.left_out(line, &what, "a header is set once");
    }
    match rules.set(name, value) {
        Ok(()) if directive.argument(2) == "always" => {}
        Ok(()) => remarks.nearly(line, &what, "it is set whatever the status"),
        Err(reason) => remarks.left_out(line, &what, reason),
    }
}
