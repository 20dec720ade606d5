//! What a configuration would run, for `weir check`.

use std::fmt;

use crate::config::{
    Config, HealthCheck, Http, PostgresRole, Probe, RedisRole, Upstream, reading::Effective,
};

/// A checked configuration. Its `Display` shows what would run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// The keys that have a value, in the order in which they were read.
    pub settings: Vec<Effective>,
    /// The environment variables that the file names.
    pub variables: Vec<String>,
}

impl fmt::Display for Checked {
    /// The services, each with its parts, and then the settings of each section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        if let Some(redirect) = &config.redirect {
            let (listen, policy) = (redirect.listen, &redirect.policy);
            let (cdn, every) = (policy.cdn.host(), policy.origin_every);
            writeln!(
                f,
                "redirect {listen}: to {cdn}, 1 call in {every} to the origin"
            )?;
        }
        for http in &config.http {
            write_listener(f, http, &config.upstreams)?;
        }
        for tcp in &config.tcp {
            let upstream = config.upstreams.get(tcp.upstream);
            let name = upstream.map_or("", |upstream| &upstream.name);
            writeln!(f, "tcp {}\n  -> {name}", tcp.listen)?;
        }
        for upstream in &config.upstreams {
            write_upstream(f, upstream)?;
        }
        writeln!(f, "admin {}", config.admin.listen)?;
        writeln!(f, "\nsettings (* default):")?;
        self.write_settings(f)
    }
}

impl Checked {
    /// One line a section: `  connections: idle_timeout 75s*, …`.
    fn write_settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sections inside others interrupt these.
        let is_shown = |setting: &&Effective| {
            let section = setting.section.as_str();
            let is_unused = section.starts_with("redirect") && self.config.redirect.is_none();
            // Shown with their listener and upstream.
            let is_above = section.contains(".routes[") || section.contains(".backends[");
            !is_unused && !is_above
        };
        let mut settings: Vec<&Effective> = self.settings.iter().filter(is_shown).collect();
        settings.sort_by(|one, other| one.section.cmp(&other.section));
        for section in settings.chunk_by(|one, other| one.section == other.section) {
            let mut separator = match section.first() {
                Some(first) if !first.section.is_empty() => format!("  {}: ", first.section),
                Some(_) | None => "  ".to_owned(),
            };
            for setting in section {
                let mark = if setting.is_default() { "*" } else { "" };
                let text = match setting.text.as_str() {
                    "" => "\"\"",
                    text => text,
                };
                write!(f, "{separator}{} {text}{mark}", setting.key)?;
                ", ".clone_into(&mut separator);
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write_listener(f: &mut fmt::Formatter<'_>, http: &Http, upstreams: &[Upstream]) -> fmt::Result {
    writeln!(f, "http {}", http.listen)?;
    for route in (0..).map_while(|index| http.router.get(index)) {
        let host = route.host.as_deref().unwrap_or("*");
        let upstream = upstreams.get(route.upstream);
        let name = upstream.map_or("", |upstream| &upstream.name);
        writeln!(f, "  {host}{} -> {name}", route.path)?;
    }
    Ok(())
}

fn write_upstream(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    write!(f, "upstream {}: ", upstream.name)?;
    match &upstream.health_check {
        Some(check) => write_check(f, check)?,
        None => writeln!(f, "no checks")?,
    }
    for backend in &upstream.backends {
        let backup = if backend.is_backup { ", backup" } else { "" };
        writeln!(f, "  {} weight {}{backup}", backend.addr, backend.weight)?;
    }
    Ok(())
}

fn write_check(f: &mut fmt::Formatter<'_>, check: &HealthCheck) -> fmt::Result {
    match &check.probe {
        Probe::Tcp(text) => match &text.expect {
            None => write!(f, "checked by a TCP connect")?,
            Some(expect) => write!(f, "checked to say {expect:?}")?,
        },
        Probe::Http(probe) => write!(f, "checked by {} {}", probe.method, probe.path)?,
        Probe::Grpc(service) => write!(f, "checked by gRPC health of {service:?}")?,
        Probe::Postgres(probe) => {
            let role = match probe.role {
                PostgresRole::Any => "a server",
                PostgresRole::Primary => "the primary",
                PostgresRole::Replica => "a replica",
            };
            write!(f, "checked to be {role} of PostgreSQL")?;
            if let Some(lag_max) = probe.lag_max {
                write!(
                    f,
                    ", at most {} behind",
                    humantime::format_duration(lag_max)
                )?;
            }
        }
        Probe::Redis(probe) => match probe.role {
            RedisRole::Any => write!(f, "checked to be a server of Redis")?,
            RedisRole::Primary => write!(f, "checked to be the primary of Redis")?,
        },
        Probe::Mysql(_) => write!(f, "checked to be a server of MySQL")?,
    }
    if let Some(port) = check.port {
        write!(f, " on port {port}")?;
    }
    writeln!(f, " every {}", humantime::format_duration(check.interval))
}
