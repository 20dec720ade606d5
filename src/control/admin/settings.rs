//! What a reload changes of the admin listener.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use axum::http::{Uri, uri::Authority};

use crate::config::{BackendOverrides, Config, Effective, Token};

/// What a reload changes of the admin listener.
#[derive(Debug)]
pub(in crate::control) struct AdminSettings {
    access: ArcSwap<Access>,
    /// What the file wants.
    config: ArcSwap<Config>,
    /// Its keys that have a value.
    settings: ArcSwap<Vec<Effective>>,
    /// What operators want beside it.
    overrides: ArcSwap<BackendOverrides>,
    stop_seconds_max: AtomicU64,
}

/// Which requests are answered.
#[derive(Debug)]
pub(super) struct Access {
    /// Names that `Host` may have; any if `None`.
    hosts: Option<Vec<String>>,
    /// What changes need.
    pub(super) token: Option<Token>,
    /// Whether only this machine reaches the listener.
    pub(super) is_local: bool,
}

impl AdminSettings {
    pub(in crate::control) fn new(config: &Config, settings: Vec<Effective>) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            access: ArcSwap::from_pointee(Access::new(config)),
            config: ArcSwap::from_pointee(config.clone()),
            overrides: ArcSwap::default(),
            stop_seconds_max: AtomicU64::new(stop_seconds_max(config)),
        }
    }

    pub(in crate::control) fn set(&self, config: &Config, settings: Vec<Effective>) {
        self.settings.store(Arc::new(settings));
        self.access.store(Arc::new(Access::new(config)));
        self.config.store(Arc::new(config.clone()));
        self.stop_seconds_max
            .store(stop_seconds_max(config), Ordering::Relaxed);
    }

    pub(in crate::control) fn set_overrides(&self, overrides: &BackendOverrides) {
        self.overrides.store(Arc::new(overrides.clone()));
    }

    /// What the file wants.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Its keys that have a value.
    pub(super) fn settings(&self) -> Arc<Vec<Effective>> {
        self.settings.load_full()
    }

    /// What operators want beside it.
    pub(super) fn overrides(&self) -> Arc<BackendOverrides> {
        self.overrides.load_full()
    }

    pub(super) fn access(&self) -> Guard<Arc<Access>> {
        self.access.load()
    }

    /// The longest that a stop takes.
    pub(super) fn stop_seconds_max(&self) -> u64 {
        self.stop_seconds_max.load(Ordering::Relaxed)
    }
}

impl Access {
    fn new(config: &Config) -> Self {
        let is_local = config.admin.listen.ip().is_loopback();
        let hosts = config.admin.hosts.clone();
        Self {
            hosts: hosts.or_else(|| is_local.then(Vec::new)),
            token: config.admin.token.clone(),
            is_local,
        }
    }

    /// Whether a request may have this `Host`. Addresses are safe: only a name can be made to
    /// resolve to this listener by somebody else (DNS rebinding).
    pub(super) fn takes_host(&self, host: &str) -> bool {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => host,
        };
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_address = inner.unwrap_or(host).parse::<IpAddr>().is_ok();
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_named = self
            .hosts
            .as_ref()
            .is_none_or(|hosts| hosts.contains(&name));
        is_address || name == "localhost" || is_named
    }

    /// Whether a page of this origin is one of ours: it names the host that the request has, and that
    /// is one of those that requests may have.
    pub(super) fn takes_origin(&self, origin: &str, host: &str) -> bool {
        let authority = origin.parse::<Uri>().ok();
        let authority = authority.as_ref().and_then(Uri::authority);
        let authority = authority.map(Authority::as_str);
        authority.is_some_and(|origin| origin.eq_ignore_ascii_case(host)) && self.takes_host(host)
    }
}

fn stop_seconds_max(config: &Config) -> u64 {
    (config.drain.lame_duck + config.drain.timeout).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hosts: Option<&[&str]>, host: &str, expected: bool) {
        let owned = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect();
        let access = Access {
            hosts: hosts.map(owned),
            token: None,
            is_local: true,
        };
        assert_eq!(access.takes_host(host), expected, "{host}");
        let own = access.takes_origin(&format!("http://{host}"), host);
        assert_eq!(own, expected, "{host}");
        assert!(!access.takes_origin("http://evil.example", host));
        assert!(!access.takes_origin("null", host));
    }

    #[test]
    fn hosts_are_compared_whole() {
        for host in [
            "localhost",
            "LOCALHOST:8404",
            "localhost.",
            "127.0.0.1:8404",
            "127.9.9.9",
            "[::1]:8404",
            "10.0.0.7",
        ] {
            check(Some(&[]), host, true);
        }
        for host in [
            "localhost.evil.com",
            "evil.localhost",
            "127.0.0.1.evil.com",
            "weir.internal:8404",
        ] {
            check(Some(&[]), host, false);
        }
        check(Some(&["weir.internal"]), "Weir.Internal.:8404", true);
        check(Some(&["weir.internal"]), "weir.internal.evil.com", false);
        check(None, "anything.example", true);
    }

    #[test]
    fn an_origin_has_the_port_of_the_request() {
        let access = Access {
            hosts: Some(Vec::new()),
            token: None,
            is_local: true,
        };
        assert!(access.takes_origin("http://localhost:8404", "localhost:8404"));
        assert!(!access.takes_origin("http://localhost:3000", "localhost:8404"));
        assert!(!access.takes_origin("http://localhost", "localhost:8404"));
    }
}
