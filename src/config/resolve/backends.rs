//! `backends`: an upstream's members.

use std::{collections::HashSet, num::NonZeroU16};

use url::{Host, Url};

use crate::{
    config::{
        AdminState, BackendAddr, Scheme, WeightedBackend,
        item::Item,
        key::{Choice, Key, List, Switch, Table, Text, TextOrTable, Whole},
        section::Section,
    },
    redirect,
};

const ADDR: Text<BackendAddr> = Text {
    words: "`http://`, `h2c://`, `https://` or `tcp://HOST:PORT`",
    parse: backend_addr,
};
const URL: Key<Text<BackendAddr>> = Key::required(
    "url",
    ADDR,
    "Where the backend is and what it speaks. A name stands for all addresses that DNS gives for it",
);
const WEIGHT: Key<Whole<NonZeroU16>> = Key::new(
    "weight",
    Whole(NonZeroU16::MIN..=NonZeroU16::new(1000).expect("not zero")),
    "1",
    "Its share of the requests",
);
const STATE: Key<Choice<AdminState>> = Key::new(
    "state",
    Choice(&AdminState::WORDS),
    "enabled",
    "`draining` finishes the requests that it has and gets no new ones, `disabled` is not even checked",
);
const BACKUP: Key<Switch> = Key::new(
    "backup",
    Switch,
    "false",
    "It is there only for the time when none of the others is available",
);
static BACKEND: Table = Table {
    keys: &[&URL, &WEIGHT, &STATE, &BACKUP],
    renamed: &[],
    example: "{ url: http://localhost:5001 }",
};

/// The key, of an upstream or at the top level.
pub(super) type Backends = Key<List<TextOrTable<Text<BackendAddr>>>>;

/// The key's kind. `empty` ends the message about an empty list.
pub(super) const fn kind(empty: &'static str) -> List<TextOrTable<Text<BackendAddr>>> {
    List {
        each: TextOrTable {
            text: ADDR,
            table: &BACKEND,
        },
        empty: Some(empty),
    }
}

/// Reads the list.
pub(super) fn backends(section: &Section<'_>, key: &Backends) -> Vec<WeightedBackend> {
    let items = section.items(key).unwrap_or_default();
    let mut backends: Vec<WeightedBackend> = Vec::with_capacity(items.len());
    let mut known = HashSet::new();
    for item in items {
        let place = item.clone();
        let Some(found) = backend(item) else {
            continue;
        };
        if !known.insert(found.addr.clone()) {
            place.fault(format!(
                "{} is there twice; give it a weight instead",
                found.addr
            ));
            continue;
        }
        let is_tcp = |backend: &WeightedBackend| backend.addr.scheme == Scheme::Tcp;
        if backends
            .first()
            .is_some_and(|first| is_tcp(first) != is_tcp(&found))
        {
            place.fault(
                "is of another kind; tcp:// backends need an upstream of their own".to_owned(),
            );
            continue;
        }
        backends.push(found);
    }
    backends
}

fn backend(item: Item<'_>) -> Option<WeightedBackend> {
    if item.text().is_some() {
        return item.value(&ADDR).map(WeightedBackend::new);
    }
    let section = item.section(&BACKEND);
    let addr = section.given(&URL);
    section.require_key(&URL, ", for example http://127.0.0.1:8081");
    let weight = section.get(&WEIGHT);
    let admin_state = section.get(&STATE);
    let is_backup = section.get(&BACKUP);
    Some(WeightedBackend {
        addr: addr?,
        weight,
        admin_state,
        is_backup,
    })
}

/// Whether DNS or a container network can have the name, which may end with the root's dot. The URL
/// parser lets `$`, `{` and `*` pass.
pub(super) fn is_host_name(name: &str) -> bool {
    redirect::is_host_name(name.strip_suffix('.').unwrap_or(name))
}

fn backend_addr(text: &str) -> Result<BackendAddr, String> {
    let hint = "is not a backend such as http://127.0.0.1:8081";
    if is_bare(text) {
        return Err(format!("needs a scheme; write http://{text}"));
    }
    let url = Url::parse(text).map_err(|error| format!("{hint} ({error})"))?;
    let plain = matches!(url.path(), "/" | "")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let (scheme, default_port) = match url.scheme() {
        "http" => (Scheme::Http, 80),
        "h2c" => (Scheme::H2c, 80),
        "https" => (Scheme::Https, 443),
        // There is no usual one.
        "tcp" if url.port().is_none() => return Err(format!("{hint}: a tcp:// URL needs a port")),
        "tcp" => (Scheme::Tcp, 0),
        _ => return Err(format!("{hint}: the scheme is http, h2c, https or tcp")),
    };
    if !plain {
        return Err(format!("{hint}: only SCHEME://HOST:PORT is supported"));
    }
    // The host of a scheme that the parser does not know is not normalised.
    let host = url.host_str().ok_or(hint)?;
    let host = match Host::parse(host).map_err(|error| format!("{hint} ({error})"))? {
        Host::Domain(domain) if !is_host_name(&domain) => {
            return Err(format!("{hint}: {domain:?} is not a host name"));
        }
        Host::Domain(domain) => domain,
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let port = url.port().unwrap_or(default_port);
    if port == 0 {
        return Err(format!("{hint}: nobody listens on port 0"));
    }
    Ok(BackendAddr { scheme, host, port })
}

/// Whether the text is a host with an optional port, as other balancers take it.
fn is_bare(text: &str) -> bool {
    let with_scheme = || Url::parse(&format!("http://{text}")).ok();
    let is_host = |url: Url| {
        url.path() == "/"
            && url.host_str().is_some_and(|host| {
                matches!(Host::parse(host), Ok(Host::Domain(domain)) if is_host_name(&domain))
                    || host.parse::<std::net::Ipv4Addr>().is_ok()
                    || host.starts_with('[')
            })
    };
    let is_plain = !text.contains(['/', '@', '?', '#', ' ']) && !text.is_empty();
    is_plain && with_scheme().is_some_and(is_host)
}
