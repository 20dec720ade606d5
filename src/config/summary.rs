//! What a configuration would run, for `weir check`.

use std::fmt;

use crate::config::{Config, HealthCheck, Http, Probe, Upstream};

/// What a configuration would run, a line each.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        if let Some(redirect) = &config.redirect {
            let (listen, policy) = (redirect.listen, &redirect.policy);
            let (cdn, every) = (policy.cdn.host(), policy.origin_every);
            writeln!(
                f,
                "  redirect {listen}: to {cdn}, 1 call in {every} to the origin"
            )?;
        }
        for http in &config.http {
            write_listener(f, http, &config.upstreams)?;
        }
        for upstream in &config.upstreams {
            write_upstream(f, upstream)?;
        }
        writeln!(f, "  admin {}", config.admin.listen)
    }
}

fn write_listener(f: &mut fmt::Formatter<'_>, http: &Http, upstreams: &[Upstream]) -> fmt::Result {
    writeln!(f, "  http {}", http.listen)?;
    for route in (0..).map_while(|index| http.router.get(index)) {
        let host = route.host.as_deref().unwrap_or("*");
        let upstream = upstreams.get(route.upstream);
        let name = upstream.map_or("", |upstream| &upstream.name);
        writeln!(f, "    {host}{} -> {name}", route.path)?;
    }
    Ok(())
}

fn write_upstream(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    let (name, backends) = (&upstream.name, upstream.backends.len());
    write!(f, "  upstream {name}: {backends} backends, ")?;
    match &upstream.health_check {
        Some(check) => write_check(f, check),
        None => writeln!(f, "no checks"),
    }
}

fn write_check(f: &mut fmt::Formatter<'_>, check: &HealthCheck) -> fmt::Result {
    match &check.probe {
        Probe::Tcp => write!(f, "checked by a TCP connect")?,
        Probe::Http(probe) => write!(f, "checked by {} {}", probe.method, probe.path)?,
        Probe::Grpc(service) => write!(f, "checked by gRPC health of {service:?}")?,
    }
    writeln!(f, " every {:?}", check.interval)
}
