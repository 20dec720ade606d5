//! `location`: which requests go to an upstream, and with which path.

use crate::import::{
    nginx::{
        proxy_headers::ClientHost,
        rate_limits::Zones,
        settings::Settings,
        targets::{Targets, Use},
        tree::Directive,
    },
    plan::{BodyLimit, HeaderRules, Names, RateLimit, Route, Scheme, route_path},
    remark::Remarks,
};

/// What the locations of all servers fill.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) zones: Zones,
    pub(super) targets: Targets,
}

/// A route of a server, before it is known for which hosts.
#[derive(Debug)]
pub(super) struct LocationRoute {
    pub(super) route: Route,
    pub(super) body_limit: BodyLimit,
    pub(super) upgrades: bool,
}

/// Where the request goes, as a directive says it.
struct Pass<'a> {
    scheme: Scheme,
    authority: &'a str,
    /// What takes the place of the location's path.
    path: Option<&'a str>,
}

impl Context {
    /// Reads a location and those in it.
    pub(super) fn location(
        &mut self,
        directive: &Directive,
        inherited: &Settings,
        names: &mut Names,
        routes: &mut Vec<LocationRoute>,
        remarks: &mut Remarks,
    ) {
        let mut settings = inherited.clone();
        settings.read(directive.children().iter(), is_of_locations, remarks);
        let (mut is_passed, mut has_inner) = (false, false);
        for inner in directive.children() {
            match inner.name.as_str() {
                "location" => {
                    has_inner = true;
                    self.location(inner, &settings, names, routes, remarks);
                }
                "proxy_pass" | "grpc_pass" => {
                    is_passed = true;
                    routes.extend(self.pass(directive, inner, &settings, names, remarks));
                }
                _ => {}
            }
        }
        if !is_passed && !has_inner {
            remarks.left_out(directive.line, &directive.text(), NOT_PROXIED);
        }
    }

    fn pass(
        &mut self,
        location: &Directive,
        pass: &Directive,
        settings: &Settings,
        names: &mut Names,
        remarks: &mut Remarks,
    ) -> Option<LocationRoute> {
        let path = location_path(location, remarks)?;
        let target = pass.argument(0);
        let Some(parsed) = parse(target, pass.name == "grpc_pass") else {
            let reason = "Weir needs an upstream, or a host and a port, without variables";
            remarks.left_out(pass.line, &pass.text(), reason);
            return None;
        };
        let Some(strip_prefix) = strips(&path, &parsed, pass, remarks) else {
            let reason =
                "Weir can leave a prefix out, and put nothing in its place; the route is left out";
            remarks.left_out(pass.line, &pass.text(), reason);
            return None;
        };
        let used = Use {
            line: pass.line,
            authority: parsed.authority,
            scheme: parsed.scheme,
            settings,
        };
        let Some(upstream) = self.targets.find(&used, names, remarks) else {
            remarks.left_out(
                pass.line,
                &pass.text(),
                "this is no address that Weir connects to",
            );
            return None;
        };
        let route = Route {
            line: location.line,
            host: None,
            path,
            upstream,
            strip_prefix,
            request: request_rules(settings, parsed.authority),
            response: response_rules(settings),
            rate_limit: self.limit(settings, remarks),
        };
        Some(LocationRoute {
            route,
            body_limit: settings.body_limit,
            upgrades: settings.upgrades,
        })
    }

    fn limit(&self, settings: &Settings, remarks: &mut Remarks) -> Option<RateLimit> {
        self.zones.limit(settings, remarks)
    }
}

/// What [`Context::location`] reads itself.
fn is_of_locations(directive: &Directive) -> bool {
    matches!(
        directive.name.as_str(),
        "location" | "proxy_pass" | "grpc_pass"
    )
}

/// The path of a location; `None` where a route cannot match it.
fn location_path(location: &Directive, remarks: &mut Remarks) -> Option<String> {
    let (line, what) = (location.line, location.text());
    let first = location.argument(0);
    let modifier = match first {
        "=" | "~" | "~*" | "^~" => first,
        _ => ["^~", "~*", "~", "="]
            .into_iter()
            .find(|modifier| first.starts_with(modifier))
            .unwrap_or_default(),
    };
    let text = match first == modifier && !first.is_empty() {
        true => location.argument(1),
        false => first.strip_prefix(modifier).unwrap_or(first),
    };
    if modifier.starts_with('~') {
        remarks.left_out(
            line,
            &what,
            format!("routes know no regular expressions: {NEXT_ROUTE}"),
        );
        return None;
    }
    let Some(path) = route_path(text) else {
        remarks.left_out(
            line,
            &what,
            format!("this is no path that a route can have: {NEXT_ROUTE}"),
        );
        return None;
    };
    if modifier == "=" {
        remarks.nearly(line, &what, "paths below it match, too");
    } else if !path.ends_with('/') {
        remarks.nearly(line, &what, "whole segments match, /api but not /apis");
    }
    Some(path)
}

fn parse(target: &str, is_grpc: bool) -> Option<Pass<'_>> {
    let (scheme, rest) = match target.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https" | "grpcs", rest)) => (Scheme::Https, rest),
        Some(("grpc", rest)) => (Scheme::H2c, rest),
        None if is_grpc => (Scheme::H2c, target),
        Some(_) | None => return None,
    };
    if target.contains('$') || rest.starts_with("unix:") {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => {
            let (authority, path) = rest.split_at_checked(at)?;
            (authority, Some(path))
        }
        None => (rest, None),
    };
    (!authority.is_empty()).then_some(Pass {
        scheme,
        authority,
        path,
    })
}

/// Whether the route leaves its path out; `None` where it would have to write another one.
fn strips(
    path: &str,
    pass: &Pass<'_>,
    directive: &Directive,
    remarks: &mut Remarks,
) -> Option<bool> {
    match pass.path {
        None => Some(false),
        Some(other) if other == path => Some(false),
        Some("/") => {
            if !path.ends_with('/') {
                let reason = "the path begins with one slash, and nginx sends two";
                remarks.nearly(directive.line, &directive.text(), reason);
            }
            Some(true)
        }
        Some(_) => None,
    }
}

fn request_rules(settings: &Settings, authority: &str) -> HeaderRules {
    let mut rules = HeaderRules::default();
    if settings.host == ClientHost::Replaced {
        // nginx's default, unless the configuration sets another one. A name that is no host is no loss.
        let _set = rules.set("Host", authority);
    }
    rules.extend(&settings.request);
    rules
}

fn response_rules(settings: &Settings) -> HeaderRules {
    let mut rules = HeaderRules::clone(&settings.hidden);
    rules.extend(&settings.added);
    rules
}

const NOT_PROXIED: &str =
    "Weir's balancer serves and answers nothing itself: its requests take the next shorter route";
const NEXT_ROUTE: &str = "its requests take the next shorter route";
