//! From document and overrides to a [`Config`]: one small function a section.

use std::{
    cell::RefCell,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    ops::RangeInclusive,
    path::Path,
    time::Duration,
};

use crate::{
    config::{
        ADMIN_LISTEN, Admin, Config, ConfigErrors, Connections, Diagnostic, Drain, Environment,
        Flags, MAX_HEADER_SIZE, ORIGIN_CLUSTERS, ORIGIN_EVERY, REDIRECT_LISTEN, Redirect,
        Reflection,
        document::Document,
        overrides::Overrides,
        resolve::{
            addresses::Addresses,
            units::{DAY, MILLIS_100, TIMEOUT, address, boolean, duration, number, size},
        },
        section::Section,
    },
    redirect::{CdnBase, OriginClusters, RedirectPolicy},
};

mod access_log;
mod addresses;
mod cors;
mod header_rules;
mod health_check;
mod http;
mod route;
mod units;
mod upstream;

pub(super) fn config(
    document: &Document,
    flags: &Flags,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    let overrides = Overrides::new(flags, environment);
    let faults = RefCell::default();
    let root = Section::root(document, &faults);
    let mut addresses = Addresses::default();
    let admin = admin(&root, &overrides, &mut addresses);
    let redirect = redirect(&root, &overrides, &mut addresses);
    let upstreams = upstream::upstreams(&root);
    let connections = connections(&root);
    let ttl_max = ttl_max(&root);
    let drain = drain(&root);
    let access_log = access_log::access_log(root.section("access_log"));
    let watch = root.value("watch", None, boolean).unwrap_or(true);
    let workers = root.value("workers", overrides.workers, |text| number(text, WORKERS));
    let http = http::listeners(&root, &upstreams, &mut addresses);
    root.finish();
    let nothing_to_do = redirect.is_none() && http.is_empty() && faults.borrow().is_empty();
    if nothing_to_do {
        let file = Config::file(flags, environment);
        faults.borrow_mut().push(no_service(file.as_deref()));
    }
    match ConfigErrors::new(faults.take()) {
        Some(errors) => Err(errors),
        None => Ok(Config {
            redirect,
            http,
            upstreams,
            admin,
            connections,
            ttl_max,
            drain,
            access_log,
            watch,
            workers,
        }),
    }
}

fn no_service(file: Option<&Path>) -> Diagnostic {
    let Some(file) = file else {
        return Diagnostic::nowhere(
            "no service is configured: set CDN_HOST (for example CDN_HOST=cdn.example.com weir), \
             name a file with --config, or try `weir demo`",
        );
    };
    Diagnostic::nowhere(format!(
        "no service is configured: {} needs `redirect:`, a listener in `http:`, or the short form, \
         `port:` and `backends:`",
        file.display()
    ))
}

/// Where the admin listener is. What the document says counts only if it can be read.
pub(super) fn admin_listen(
    document: Option<&Document>,
    flags: &Flags,
    environment: &Environment,
) -> Result<SocketAddr, ConfigErrors> {
    let from = |document| listen_of_admin(document, flags, environment);
    let of_document = document.and_then(|document| from(document).ok());
    match of_document {
        Some(listen) => Ok(listen),
        None => from(&crate::config::document::read(None)?),
    }
}

fn listen_of_admin(
    document: &Document,
    flags: &Flags,
    environment: &Environment,
) -> Result<SocketAddr, ConfigErrors> {
    let faults = RefCell::default();
    let admin = admin(
        &Section::root(document, &faults),
        &Overrides::new(flags, environment),
        &mut Addresses::default(),
    );
    match ConfigErrors::new(faults.take()) {
        Some(errors) => Err(errors),
        None => Ok(admin.listen),
    }
}

fn redirect(
    root: &Section<'_>,
    overrides: &Overrides<'_>,
    addresses: &mut Addresses,
) -> Option<Redirect> {
    let section = root.section("redirect");
    let cdn = section.value("cdn_host", overrides.cdn_host, CdnBase::parse);
    if section.is_present() && overrides.cdn_host.is_none() {
        section.require(
            &["cdn_host"],
            "redirect.cdn_host is missing; set it here, or CDN_HOST in the environment",
        );
    }
    let outside = overrides.redirect_listen;
    let listen = section.value_or("listen", outside, REDIRECT_LISTEN, address);
    if let (Some(_), Some(listen)) = (&cdn, listen) {
        addresses.add(&section, "listen", outside, listen);
    }
    let origin_every = section.value("origin_every", None, |text| {
        number(text, NonZeroU64::MIN..=NonZeroU64::MAX)
    });
    let clusters = origin_clusters(&section);
    let reflection = section.value("reflection", None, on_or_off);
    let cors = cors::cors(section.section_or_off("cors"));
    let call_timeout = section.value("call_timeout", None, |text| duration(text, TIMEOUT));
    section.finish();
    let policy = RedirectPolicy {
        cdn: cdn?,
        origin_every: origin_every.unwrap_or(ORIGIN_EVERY),
        clusters,
    };
    Some(Redirect {
        listen: listen.unwrap_or(REDIRECT_LISTEN),
        policy,
        reflection: reflection.unwrap_or(Reflection::On),
        call_timeout: call_timeout.unwrap_or(Duration::from_secs(10)),
        cors,
    })
}

fn origin_clusters(section: &Section<'_>) -> OriginClusters {
    let meaning = ", so every call would be refused";
    let entries = section.some_items("origin_clusters", meaning);
    let mut names = Vec::with_capacity(entries.len());
    for item in &entries {
        let name = item.text().unwrap_or_default();
        match OriginClusters::new(&[name]) {
            Ok(_) => names.push(name),
            Err(error) => item.fault(error),
        }
    }
    if names.is_empty() {
        return OriginClusters::new(&ORIGIN_CLUSTERS).expect("the default is a domain name");
    }
    OriginClusters::new(&names).expect("each was accepted")
}

fn admin(root: &Section<'_>, overrides: &Overrides<'_>, addresses: &mut Addresses) -> Admin {
    let section = root.section("admin");
    let outside = overrides.admin_listen;
    let listen = section.value_or("listen", outside, ADMIN_LISTEN, address);
    if let Some(listen) = listen {
        addresses.add(&section, "listen", outside, listen);
    }
    section.finish();
    Admin {
        listen: listen.unwrap_or(ADMIN_LISTEN),
    }
}

fn connections(root: &Section<'_>) -> Connections {
    let section = root.section("connections");
    let timeout = |key, bounds, default| {
        let value = section.value(key, None, |text| duration(text, bounds));
        value.unwrap_or(default)
    };
    let connections = Connections {
        limit: section.value("limit", None, |text| number(text, CONNECTIONS)),
        per_client_limit: section
            .value_or_none("per_client_limit", |text| number(text, CONNECTIONS)),
        max_header_size: section
            .value("max_header_size", None, max_header_size)
            .unwrap_or(MAX_HEADER_SIZE),
        first_byte_timeout: timeout("first_byte_timeout", TIMEOUT, Duration::from_secs(10)),
        header_timeout: timeout("header_timeout", TIMEOUT, Duration::from_secs(10)),
        idle_timeout: timeout("idle_timeout", MILLIS_100..=DAY, Duration::from_secs(75)),
        max_connection_age: timeout(
            "max_connection_age",
            Duration::from_secs(1)..=DAY.saturating_mul(7),
            Duration::from_secs(30 * 60),
        ),
        max_connection_age_grace: timeout(
            "max_connection_age_grace",
            TIMEOUT,
            Duration::from_secs(30),
        ),
        max_concurrent_streams: section
            .value("max_concurrent_streams", None, |text| number(text, STREAMS))
            .unwrap_or(STREAMS_DEFAULT),
        min_body_rate: section.value_or_none_by_default(
            "min_body_rate",
            MIN_BODY_RATE,
            min_body_rate,
        ),
    };
    section.renamed("head_limit", "max_header_size");
    section.renamed("age_limit", "max_connection_age");
    section.renamed("age_grace", "max_connection_age_grace");
    section.renamed("streams_limit", "max_concurrent_streams");
    section.finish();
    connections
}

fn ttl_max(root: &Section<'_>) -> Duration {
    let section = root.section("resolve");
    let ttl_max = section.value("max_ttl", None, |text| duration(text, TTLS));
    section.finish();
    ttl_max.unwrap_or(Duration::from_secs(30))
}

fn drain(root: &Section<'_>) -> Drain {
    let section = root.section("drain");
    let timeout = |key, most, default| {
        let value = section.value(key, None, |text| duration(text, Duration::ZERO..=most));
        value.unwrap_or(default)
    };
    let drain = Drain {
        lame_duck: timeout("lame_duck", MINUTES_10, Duration::from_secs(5)),
        quiet: timeout("quiet", Duration::from_secs(60), Duration::from_secs(1)),
        timeout: timeout("timeout", DAY, Duration::from_secs(30)),
    };
    section.finish();
    drain
}

fn on_or_off(text: &str) -> Result<Reflection, &'static str> {
    Ok(match boolean(text)? {
        true => Reflection::On,
        false => Reflection::Off,
    })
}

/// Bytes a second.
fn min_body_rate(text: &str) -> Result<u32, String> {
    let bytes = size(text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| RATES.contains(bytes))
        .ok_or_else(|| "must be from 1B to 1MiB".to_owned())
}

fn max_header_size(text: &str) -> Result<u32, String> {
    let bytes = size(text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| HEADS.contains(bytes))
        .ok_or_else(|| "must be from 8KiB to 1MiB".to_owned())
}

const WORKERS: RangeInclusive<NonZeroUsize> =
    NonZeroUsize::MIN..=NonZeroUsize::new(1024).expect("not zero");
const CONNECTIONS: RangeInclusive<NonZeroUsize> =
    NonZeroUsize::MIN..=NonZeroUsize::new(1 << 24).expect("not zero");
const STREAMS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1 << 16).expect("not zero");
const STREAMS_DEFAULT: NonZeroU32 = NonZeroU32::new(256).expect("not zero");
const RATES: RangeInclusive<u32> = 1..=(1 << 20);
const MIN_BODY_RATE: u32 = 240;
const HEADS: RangeInclusive<u32> = (8 << 10)..=(1 << 20);
const TTLS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
const MINUTES_10: Duration = Duration::from_secs(600);
