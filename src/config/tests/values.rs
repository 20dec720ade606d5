//! Values in all their spellings.

use super::*;

#[test]
fn what_is_none_by_default_can_be_written() {
    for none in ["none", "off", "false", "~", ""] {
        let keys = format!(
            "connections: {{ per_client_limit: {none} }}\nport: 1\nbackends: [http://a]\n\
             upstreams: {{ b: {{ backends: [http://a], total_timeout: {none}, max_requests: {none} }} }}\n"
        );
        let config = load_file(&keys).unwrap();
        assert_eq!(config.connections.per_client_limit, None);
        assert_eq!(config.upstreams[0].total_timeout, None);
        assert_eq!(config.upstreams[0].max_requests, None);
    }
}

#[test]
fn all_of_yamls_booleans_are_read() {
    for (text, expected) in [
        ("on", true),
        ("Yes", true),
        ("TRUE", true),
        ("off", false),
        ("no", false),
    ] {
        let yaml =
            format!("redirect: {{ cdn_host: a }}\nwatch: {text}\naccess_log: {{ format: off }}\n");
        let config = load_file(&yaml).unwrap();
        assert_eq!(config.watch, expected, "{text}");
        assert_eq!(config.access_log, None);
    }
}

/// Each of these is another number, or text, to some reader of YAML.
#[test]
fn a_number_is_decimal_digits() {
    for number in [
        "0x1F", "1_000", "+5", "0123", "0o17", "1e3", "5.0", "True", "\"\"",
    ] {
        let yaml = format!("redirect: {{ cdn_host: a, origin_every: {number} }}\n");
        let written = number.trim_matches('"');
        let fault = format!(
            "1:40: redirect.origin_every {written:?} must be a whole number from 1 to 18446744073709551615"
        );
        check_faults(&yaml, &[&fault]);
    }
    let quoted = load_file("redirect: { cdn_host: a, origin_every: \"7\" }\n").unwrap();
    assert_eq!(quoted.redirect.unwrap().policy.origin_every.get(), 7);
}

fn with_header(value: &str) -> String {
    format!(
        "upstreams: {{ app: {{ backends: [http://a] }} }}\nhttp:\n  - listen: 127.0.0.1:1\n    \
         routes: [{{ upstream: app, request_headers: {{ set: {{ X-Version: {value} }} }} }}]\n"
    )
}

#[test]
fn text_is_what_was_written() {
    for (value, expected) in [
        ("True", "True"),
        ("NO", "NO"),
        ("1.10.2", "1.10.2"),
        ("\"1.10\"", "1.10"),
    ] {
        let config = load_file(&with_header(value)).unwrap();
        let route = config.http[0].router.get(0).unwrap();
        assert_eq!(route.request_headers.set[0].1, expected);
    }
    let names = "upstreams: { 1_0: { backends: [http://a] }, 0x1F: { backends: [http://b] } }\n\
                 redirect: { cdn_host: a }\n";
    let upstreams = load_file(names).unwrap().upstreams;
    let names: Vec<&str> = upstreams
        .iter()
        .map(|upstream| upstream.name.as_str())
        .collect();
    assert_eq!(names, ["1_0", "0x1F"]);
}

#[test]
fn a_number_where_text_is_meant_needs_quotes() {
    for number in ["1.10", "1e3", "110", "0x1F"] {
        let fault = format!(
            "4:68: http[1].routes[1].request_headers.set.X-Version is text, and {number} is a number to YAML; write \"{number}\""
        );
        check_faults(&with_header(number), &[&fault]);
    }
    check_faults(
        "upstreams: { app: { backends: [http://a], health_check: { grpc: 10 } } }\nredirect: { cdn_host: a }\n",
        &[
            "1:65: upstreams.app.health_check.grpc is text, and 10 is a number to YAML; write \"10\"",
        ],
    );
}

#[test]
fn variables_are_replaced_in_values() {
    let host = |value: &str| {
        let yaml = format!("redirect: {{ cdn_host: \"{value}\" }}\n");
        let variables = [("REGION", "eu"), ("EMPTY", "")];
        load(&yaml, Flags::default(), &variables)
            .map(|config| config.redirect.unwrap().policy.cdn.host().to_owned())
    };
    for (value, expected) in [
        ("${REGION}.cdn.example", "eu.cdn.example"),
        ("${ZONE:-a}.${REGION}.cdn", "a.eu.cdn"),
        ("${EMPTY:-b}.cdn", "b.cdn"),
        ("${REGION:-us}.cdn", "eu.cdn"),
    ] {
        assert_eq!(host(value).unwrap(), expected, "{value}");
    }
    for (value, fault) in [
        (
            "${ZONE}.cdn",
            "the variable ZONE is not set; set it, or write ${ZONE:-DEFAULT}",
        ),
        ("${REGION.cdn", "\"${REGION.cdn\" has a ${ without its }"),
        ("${}.cdn", "\"${}.cdn\": \"\" is not the name of a variable"),
        (
            "${A B}",
            "\"${A B}\": \"A B\" is not the name of a variable",
        ),
    ] {
        let errors = host(value).unwrap_err();
        let first = &errors.diagnostics()[0];
        assert_eq!(first.message, fault);
        assert_eq!(first.line_and_column(), Some((1, 23)));
    }
    let escaped = load(
        &with_header("\"$${REGION} $5 ${REGION}\""),
        Flags::default(),
        &[("REGION", "eu")],
    );
    let config = escaped.unwrap();
    let route = config.http[0].router.get(0).unwrap();
    assert_eq!(route.request_headers.set[0].1, "${REGION} $5 eu");
}

#[test]
fn a_likely_slip_is_answered_with_the_right_spelling() {
    for (yaml, fault) in [
        (
            "upstreams: { app: { backends: [http://a], retry_budget: 20 } }\n",
            "1:57: upstreams.app.retry_budget \"20\" needs its sign; write 20%",
        ),
        (
            "port: 80\nbackends: [http://a]\nretry_budget: 20%\n",
            "3:1: unknown key `retry_budget`; it is a key of upstreams.NAME",
        ),
        (
            "upstreams: { app: { backends: [\"127.0.0.1:5001\"] } }\n",
            "1:32: upstreams.app.backends[1] \"127.0.0.1:5001\" needs a scheme; write http://127.0.0.1:5001",
        ),
        (
            "admin: { listen: \":8080\" }\n",
            "1:18: admin.listen \":8080\" is not an address and port such as 127.0.0.1:8404 or [::]:50051; write 0.0.0.0:8080 for all IPv4 addresses, [::]:8080 for IPv6 too",
        ),
        (
            "admin: { listen: 8080 }\n",
            "1:18: admin.listen \"8080\" is not an address and port such as 127.0.0.1:8404 or [::]:50051; write 0.0.0.0:8080",
        ),
    ] {
        check_faults(yaml, &[fault]);
    }
}

#[test]
fn a_key_that_is_there_twice_hides_no_other_fault() {
    check_faults(
        "workers: 1\nworkers: 2\nwatch: maybe\nupstreams: { a: { backends: [http://a] }, a: { backends: [http://b] } }\n",
        &[
            "2:1: the key `workers` is there twice",
            "3:8: watch \"maybe\" must be true or false",
            "4:43: the key `a` is there twice in upstreams",
        ],
    );
}

/// A listener that is its own backend passes each request to itself until the loop is noticed.
#[test]
fn a_listener_is_not_its_own_backend() {
    for (listen, backend, is_loop) in [
        ("0.0.0.0:8080", "http://127.0.0.1:8080", true),
        ("0.0.0.0:8080", "http://localhost:8080", true),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
        ("127.0.0.1:8080", "http://127.0.0.2:8080", false),
        ("127.0.0.1:8080", "http://127.0.0.1:8081", false),
        ("0.0.0.0:8080", "http://app:8080", false),
    ] {
        let yaml = format!(
            "upstreams: {{ app: {{ backends: [{backend}] }} }}\nhttp: [{{ listen: \"{listen}\", routes: [{{ upstream: app }}] }}]\n"
        );
        match is_loop {
            false => drop(load_file(&yaml).unwrap()),
            true => check_faults(
                &yaml,
                &[&format!(
                    "2:18: {listen} is also a backend of the upstream \"app\", which it leads to"
                )],
            ),
        }
    }
}

/// `s1.a` and `s1.b` both become `/s1/` at the CDN.
#[test]
fn clusters_that_share_addresses_at_the_cdn_are_a_warning() {
    for (clusters, expected) in [("[a]", 0), ("[a, b]", 1), ("[\"*\"]", 1)] {
        let yaml = format!("redirect: {{ cdn_host: cdn, origin_clusters: {clusters} }}\n");
        let warnings = load_file(&yaml).unwrap().warnings;
        assert_eq!(warnings.len(), expected, "{clusters}");
        for warning in warnings {
            assert_eq!(warning.line_and_column(), Some((1, 45)));
            let text = warning.to_string();
            assert!(text.contains("get the same CDN address: s1.a"), "{text}");
        }
    }
}

#[test]
fn what_can_be_switched_off_takes_off() {
    for off in ["off", "none", "false"] {
        let yaml = format!(
            "redirect: {{ cdn_host: a, reflection: {off}, cors: {off} }}\naccess_log: {off}\nwatch: {off}\n\
             drain: {{ lame_duck: {off} }}\nconnections: {{ min_body_rate: {off} }}\nupstreams:\n  app: {{ backends: [http://a], \
             health_check: {off}, ejection: {off}, slow_start: {off}, retry_budget: {off}, total_timeout: {off} }}\n"
        );
        let config = load_file(&yaml).unwrap();
        let (redirect, app) = (config.redirect.unwrap(), &config.upstreams[0]);
        assert_eq!(
            (redirect.reflection, redirect.cors),
            (Reflection::Off, Cors::Off)
        );
        assert_eq!((config.access_log, config.watch), (None, false));
        assert_eq!(
            (config.drain.lame_duck, config.connections.min_body_rate),
            (Duration::ZERO, None)
        );
        assert_eq!((&app.health_check, &app.ejection), (&None, &None));
        assert_eq!(
            (app.slow_start, app.retry_percent, app.total_timeout),
            (Duration::ZERO, 0, None)
        );
    }
    check_faults(
        "upstreams: { app: { backends: [http://a], connect_timeout: off } }\n",
        &[
            "1:60: upstreams.app.connect_timeout \"off\" is not a duration with a unit such as 500ms, 2s or 30m",
        ],
    );
}

#[test]
fn extensions_are_not_read() {
    let yaml = "x-a: { cmd: \"echo ${NOT_SET}\" }\nredirect: { cdn_host: a }\n";
    load_file(yaml).unwrap();
}

/// What `weir check` shows is what runs.
#[test]
fn a_default_that_another_key_limits_is_shown_as_it_holds() {
    let yaml = "port: 80\nbackends: [http://a]\nhealth_check: { interval: 500ms }\n";
    let checked = Config::check_text(yaml, &Flags::default(), &environment(&[])).unwrap();
    let check = checked.config.upstreams[0].health_check.clone().unwrap();
    assert_eq!(check.timeout, Duration::from_millis(500));
    assert!(
        checked
            .to_string()
            .contains("interval 500ms, timeout 500ms*"),
        "{checked}"
    );
}
