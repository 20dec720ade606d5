//! `redirect`: the redirect service.

use std::num::NonZeroU64;

use crate::{
    config::{
        Redirect, Reflection,
        key::{self, Address, Key, List, SectionOrOff, Span, Switch, Table, Text, Whole},
        loopback,
        overrides::Setting,
        resolve::{
            TIMEOUT,
            addresses::Addresses,
            cors::{CORS, cors},
            http::TRUSTED_PROXIES,
            rate_limit::{self, LISTENER_RATE_LIMIT},
        },
        section::Section,
    },
    redirect::{CdnBase, OriginClusters, RedirectPolicy},
};

const CDN_HOST_KEY: Key<Text<CdnBase>> = Key::required(
    "cdn_host",
    Text {
        words: "`[SCHEME://]HOST[:PORT][/PREFIX]`",
        parse: |text| CdnBase::parse(text).map_err(|error| error.to_string()),
    },
    "The CDN. Without a scheme, the video's own scheme is used",
)
.or_setting(Setting::CdnHost);
pub(super) const LISTEN: Key<Address> = Key::new(
    "listen",
    Address,
    "0.0.0.0:50051",
    "Where gRPC and HTTP are served",
)
.or_setting(Setting::RedirectListen);
const ORIGIN_EVERY: Key<Whole<NonZeroU64>> = Key::new(
    "origin_every",
    Whole(NonZeroU64::MIN..=NonZeroU64::MAX),
    "10",
    "One of every so many accepted calls is answered with the origin's own URL",
);
const ORIGIN_CLUSTERS: Key<List<Text<String>>> = Key::optional(
    "origin_clusters",
    List {
        each: Text {
            words: "domain name, or `*`",
            parse: cluster,
        },
        empty: Some(", so every call would be refused"),
    },
    "`[origin-cluster]`",
    "A video's host must be SERVER.CLUSTER with one of these clusters. `*` allows any host of two labels or more",
);
const REFLECTION: Key<Switch> = Key::new(
    "reflection",
    Switch,
    "true",
    "Serves gRPC reflection, v1 and v1alpha",
);
const CALL_TIMEOUT: Key<Span> = Key::new(
    "call_timeout",
    Span(TIMEOUT),
    "10s",
    "Time from a call's head to the end of its message. A client's own shorter `grpc-timeout` wins",
);
const CORS_KEY: Key<SectionOrOff> = Key::optional(
    "cors",
    SectionOrOff(&CORS),
    "any origin",
    "Web pages that may read the answers over HTTP",
);
pub(super) static REDIRECT: Table = Table {
    keys: &[
        &CDN_HOST_KEY,
        &LISTEN,
        &ORIGIN_EVERY,
        &ORIGIN_CLUSTERS,
        &REFLECTION,
        &CALL_TIMEOUT,
        &CORS_KEY,
        &TRUSTED_PROXIES,
        &LISTENER_RATE_LIMIT,
    ],
    renamed: &[],
    example: "{ cdn_host: cdn.example.com }",
};
pub(super) const SECTION: Key<key::Section> = Key::optional(
    "redirect",
    key::Section(&REDIRECT),
    "no redirect service, unless `CDN_HOST` is set",
    "The redirect service",
);

/// Reads the section; `None` where nothing asks for the service.
pub(super) fn redirect(root: &Section<'_>, addresses: &mut Addresses) -> Option<Redirect> {
    let section = root.section(&SECTION);
    let cdn = section.given(&CDN_HOST_KEY);
    let is_outside = root.reading().overrides().get(Setting::CdnHost).is_some();
    if section.is_present() && !is_outside {
        section.require(
            &[CDN_HOST_KEY.name],
            "redirect.cdn_host is missing; set it here, or CDN_HOST in the environment",
        );
    }
    let listen = section.known(&LISTEN);
    if let (Some(_), Some(listen)) = (&cdn, listen) {
        addresses.add(&section, &LISTEN, listen);
    }
    let origin_every = section.get(&ORIGIN_EVERY);
    let clusters = origin_clusters(&section);
    let reflection = match section.get(&REFLECTION) {
        true => Reflection::On,
        false => Reflection::Off,
    };
    let cors = cors(section.section_or_off(&CORS_KEY));
    let call_timeout = section.get(&CALL_TIMEOUT);
    let trusted_proxies = section.list(&TRUSTED_PROXIES).unwrap_or_else(loopback);
    let rate_limit = rate_limit::listener(&section);
    let policy = RedirectPolicy {
        cdn: cdn?,
        origin_every,
        clusters,
    };
    Some(Redirect {
        listen: listen.unwrap_or_else(|| LISTEN.default()),
        policy,
        reflection,
        call_timeout,
        cors,
        trusted_proxies,
        rate_limit,
    })
}

fn origin_clusters(section: &Section<'_>) -> OriginClusters {
    let given = section.list(&ORIGIN_CLUSTERS).unwrap_or_default();
    let names: Vec<&str> = match given.is_empty() {
        true => vec![crate::config::ORIGIN_CLUSTER],
        false => given.iter().map(String::as_str).collect(),
    };
    if let Some(shared) = shared_addresses(&names) {
        let reading = section.reading();
        reading.warn(section.value_place(&ORIGIN_CLUSTERS), shared);
    }
    OriginClusters::new(&names).expect("each was accepted")
}

/// What to warn of where two servers would have one address at the CDN, which gets their name alone.
fn shared_addresses(clusters: &[&str]) -> Option<String> {
    match clusters {
        ["*"] => Some(
            "hosts with the same first label get the same CDN address: s1.a.example and s1.b.example"
                .to_owned(),
        ),
        [one, other, ..] => Some(format!(
            "servers with the same name get the same CDN address: s1.{one} and s1.{other}"
        )),
        [_] | [] => None,
    }
}

fn cluster(text: &str) -> Result<String, String> {
    match OriginClusters::new(&[text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_source) => {
            Err("is not a domain name such as origin-cluster, and not \"*\"".to_owned())
        }
    }
}
