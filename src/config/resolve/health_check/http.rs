//! The keys of an HTTP check.

use std::ops::RangeInclusive;

use http::{HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use crate::config::{
    HttpProbe,
    item::Item,
    key::{Key, Pairs, Text},
    resolve::header_rules::{header_name, header_value, is_host},
    section::Section,
};

pub(super) const HTTP: Key<Text<PathAndQuery>> = Key::optional(
    "http",
    Text {
        words: "path",
        parse: |text| probe_path(text).map_err(str::to_owned),
    },
    "a TCP connect",
    "Asks for this path",
);
pub(super) const METHOD: Key<Text<Method>> = Key::new(
    "method",
    Text {
        words: "`GET`, `HEAD`, `POST`, `PUT` or `OPTIONS`",
        parse: method,
    },
    "GET",
    "The method of an HTTP check",
);
pub(super) const HOST: Key<Text<HeaderValue>> = Key::optional(
    "host",
    Text {
        words: "host, with or without a port",
        parse: host,
    },
    "host and port as the backend's URL has them",
    "The `Host` of an HTTP check",
);
pub(super) const HEADERS: Key<Pairs> = Key::optional(
    "headers",
    Pairs("map of header names and values, at most 100"),
    "none",
    "Further headers of an HTTP check",
);
pub(super) const STATUS: Key<Text<RangeInclusive<u16>>> = Key::new(
    "status",
    Text {
        words: "status or range of statuses",
        parse: |text| status(text).map_err(str::to_owned),
    },
    "200-399",
    "The statuses of an HTTP check that are healthy",
);
impl HttpProbe {
    /// A `GET` of a path, with the defaults.
    pub fn get(path: PathAndQuery) -> Self {
        Self {
            method: METHOD.default(),
            path,
            host: None,
            headers: Vec::new(),
            status: STATUS.default(),
        }
    }
}

/// Reads the keys; `None` where there is no path.
pub(super) fn http_probe(section: &Section<'_>) -> Option<HttpProbe> {
    let path = section.given(&HTTP);
    for (key, message) in [
        (STATUS.name, "status needs http: PATH"),
        (METHOD.name, "method needs http: PATH"),
        (HOST.name, "host needs http: PATH"),
        (HEADERS.name, "headers need http: PATH"),
    ] {
        section.require_for(key, &[HTTP.name], message);
    }
    let is_http = path.is_some();
    let given = |is_there: bool| is_http || is_there;
    let status = given(section.has(STATUS.name)).then(|| section.get(&STATUS));
    let method = given(section.has(METHOD.name)).then(|| section.get(&METHOD));
    let host = section.given(&HOST);
    let headers = headers(section);
    Some(HttpProbe {
        path: path?,
        method: method?,
        status: status?,
        host,
        headers,
    })
}

fn method(text: &str) -> Result<Method, String> {
    let known = ["GET", "HEAD", "POST", "PUT", "OPTIONS"];
    let method = Method::try_from(text).ok();
    method
        .filter(|_method| known.contains(&text))
        .ok_or_else(|| "must be GET, HEAD, POST, PUT or OPTIONS".to_owned())
}

fn host(text: &str) -> Result<HeaderValue, String> {
    let host = HeaderValue::from_str(text).ok();
    host.filter(is_host)
        .ok_or_else(|| "is not a host such as app.internal:8080".to_owned())
}

fn headers(section: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, item) in section.pairs(&HEADERS) {
        match header(name, &item) {
            Ok(None) => {}
            Ok(Some((name, _))) if headers.iter().any(|(other, _)| *other == name) => {
                item.fault("is set twice, as upper and lower case are the same");
            }
            Ok(Some(_)) if headers.len() == HEADERS_MAX => item.fault("is one header too many"),
            Ok(Some(header)) => headers.push(header),
            Err(error) => item.fault(error),
        }
    }
    headers
}

fn header(name: &str, item: &Item<'_>) -> Result<Option<(HeaderName, HeaderValue)>, &'static str> {
    let name = header_name(name)?;
    if name == header::HOST {
        return Err("has a key of its own: health_check.host");
    }
    Ok(header_value(item)?.map(|value| (name, value)))
}

fn probe_path(text: &str) -> Result<PathAndQuery, &'static str> {
    let path = PathAndQuery::try_from(text).map_err(|_source| "is not a path such as /health")?;
    if text.starts_with('/') {
        Ok(path)
    } else {
        Err("must begin with /")
    }
}

/// One status, or two with a `-` between them.
fn status(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let bound = |text: &str| {
        let status = text.trim().parse().ok();
        status.filter(|status| (100..=599).contains(status))
    };
    match (bound(first), bound(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("is not a status such as 200, or a range such as 200-399"),
    }
}

const HEADERS_MAX: usize = 100;
