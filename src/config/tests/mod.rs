//! Whole configurations in, settings or faults out.

use std::{ffi::OsString, fs, path::PathBuf};

use super::*;

mod addresses;
mod faults;
mod keys;
mod tcp;
mod values;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let texts = variables
        .iter()
        .map(|&(name, value)| (OsString::from(name), OsString::from(value)));
    Environment::read(texts)
}

fn load(yaml: &str, flags: Flags, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(file.path(), yaml).unwrap();
    let flags = Flags {
        config: Some(file.path().to_owned()),
        ..flags
    };
    Config::load(&flags, &environment(variables))
}

fn load_file(yaml: &str) -> Result<Config, ConfigErrors> {
    load(yaml, Flags::default(), &[])
}

/// Checks the faults, each as `line:column: message`.
#[track_caller]
fn check_faults(yaml: &str, expected: &[&str]) {
    let errors = load_file(yaml).unwrap_err();
    let found: Vec<String> = errors
        .diagnostics()
        .iter()
        .map(|diagnostic| match diagnostic.line_and_column() {
            Some((line, column)) => format!("{line}:{column}: {}", diagnostic.message),
            None => diagnostic.message.clone(),
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn cdn_host_alone_is_a_configuration() {
    let config = Config::load(
        &Flags::default(),
        &environment(&[("CDN_HOST", "cdn.example.com")]),
    )
    .unwrap();
    let redirect = config.redirect.unwrap();
    assert_eq!(redirect.policy.cdn.host(), "cdn.example.com");
    assert_eq!(redirect.listen.to_string(), "0.0.0.0:50051");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8404");
}

#[test]
fn nothing_configured_is_one_clear_line() {
    let error = Config::load(&Flags::default(), &environment(&[("CDN_HOST", "")]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("error: no service is configured: set CDN_HOST"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_file_without_a_service_is_named() {
    for yaml in [
        "# nothing yet\n",
        "http: []\n",
        "http:\n",
        "upstreams: { app: { backends: [http://a] } }\n",
    ] {
        let text = load_file(yaml).unwrap_err().to_string();
        assert!(
            text.starts_with("error: no service is configured: /"),
            "{text}"
        );
        let hint = ".yaml needs `redirect:`, a listener in `http:`, or the short form, `port:` and `backends:`";
        assert!(text.ends_with(hint), "{text}");
    }
}

#[test]
fn missing_cdn_host_names_the_section() {
    check_faults(
        "redirect:\n  origin_every: 5\n",
        &["2:3: redirect.cdn_host is missing; set it here, or CDN_HOST in the environment"],
    );
}

#[test]
fn flag_wins_over_environment_over_file() {
    let yaml = "redirect: { cdn_host: file.example, listen: 127.0.0.1:1 }\nworkers: 3\n";
    let host = |flags, variables: &[(&str, &str)]| {
        let config = load(yaml, flags, variables).unwrap();
        assert_eq!(config.workers, NonZeroUsize::new(3));
        config.redirect.unwrap().policy.cdn.host().to_owned()
    };
    let flag = Flags {
        cdn_host: Some("flag.example".to_owned()),
        ..Flags::default()
    };
    let variables = [("CDN_HOST", "env.example"), ("WEIR_REDIRECT_LISTEN", "")];
    assert_eq!(host(flag, &variables), "flag.example");
    assert_eq!(host(Flags::default(), &variables), "env.example");
    assert_eq!(host(Flags::default(), &[]), "file.example");
}

#[test]
fn all_faults_are_reported_together_with_their_places() {
    check_faults(
        "redirect:\n  lisen: 0.0.0.0:1\n  cdn_host: user@cdn\n  origin_every: 0\n  origin_clusters: [ok, a..b]\n  call_timeout: 10\n\
         conections: {}\nworkers: many\ndrain: 5s\n",
        &[
            "2:3: unknown key `lisen` in redirect; did you mean `listen`?",
            "3:13: redirect.cdn_host \"user@cdn\" has user information (an @), which would be sent to every player",
            "4:17: redirect.origin_every \"0\" must be a whole number from 1 to 18446744073709551615",
            "5:25: redirect.origin_clusters[2] \"a..b\" is not a domain name such as origin-cluster, and not \"*\"",
            "6:17: redirect.call_timeout \"10\" is not a duration with a unit such as 500ms, 2s or 30m; write 10s for seconds",
            "7:1: unknown key `conections`; did you mean `connections`?",
            "8:10: workers \"many\" must be a whole number from 1 to 1024",
            "9:8: drain must be a map of keys and values, for example { timeout: 30s }",
        ],
    );
}

#[test]
fn faults_outside_the_file_name_the_setting() {
    let errors = Config::load(
        &Flags {
            admin_listen: Some("here".to_owned()),
            ..Flags::default()
        },
        &environment(&[("CDN_HOST", "ftp://cdn"), ("WEIR_WORKERS", "0")]),
    );
    let text = errors.unwrap_err().to_string();
    assert_eq!(
        text,
        "error: --admin-listen: \"here\" is not an address and port such as 127.0.0.1:8404 or [::]:50051\n\
         error: CDN_HOST: \"ftp://cdn\" has the scheme \"ftp\"; only http and https are allowed\n\
         error: WEIR_WORKERS: \"0\" must be a whole number from 1 to 1024"
    );
}

#[test]
fn a_fault_shows_file_line_column_and_the_line() {
    let text = load_file("redirect:\n  cdn_hots: x\n  cdn_host: y\n")
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("error: unknown key `cdn_hots` in redirect; did you mean `cdn_host`?\n"),
        "{text}"
    );
    assert!(text.contains(".yaml:2:3\n"), "{text}");
    assert!(text.contains("2 |   cdn_hots: x\n"), "{text}");
    assert!(text.contains("|   ^^^^^^^^"), "{text}");
}

#[test]
fn broken_yaml_is_reported_with_its_place() {
    for (yaml, line) in [
        ("redirect: [1\nworkers: 2\n", 2),
        ("workers: 1\nworkers: 2\n", 2),
        ("a: b: c\n", 1),
        ("\t- x\n", 1),
        ("redirect:\n  cdn_host: \"x\n", 2),
    ] {
        let errors = load_file(yaml).unwrap_err();
        let (found, _) = errors.diagnostics()[0].line_and_column().unwrap();
        assert!(found >= line, "{yaml:?}: {errors}");
    }
    check_faults(
        "- 1\n- 2\n",
        &["1:1: the configuration must be a map of keys and values"],
    );
}

#[test]
fn wrong_shapes_are_faults() {
    check_faults(
        "redirect:\n  cdn_host: [a]\n  origin_clusters: x\n",
        &[
            "2:13: redirect.cdn_host must be a single value",
            "3:20: redirect.origin_clusters must be a list, for example [a, b]",
        ],
    );
    check_faults(
        "redirect: { cdn_host: x, origin_clusters: [] }\n",
        &["1:26: redirect.origin_clusters is empty, so every call would be refused"],
    );
    check_faults(
        "redirect: { cdn_host: x, call_timeout: 50ms, reflection: 3 }\n",
        &[
            "1:40: redirect.call_timeout \"50ms\" must be from 100ms to 10m",
            "1:58: redirect.reflection \"3\" must be true or false",
        ],
    );
}

#[test]
fn a_missing_file_is_one_clear_line() {
    let flags = Flags {
        config: Some(PathBuf::from("/nowhere/weir.yaml")),
        ..Flags::default()
    };
    let text = Config::load(&flags, &environment(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("error: cannot read configuration file /nowhere/weir.yaml: "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn misspelled_variables_are_warnings() {
    let variables = [
        ("WEIR_REDIRCT_LISTEN", "x"),
        ("WEIR_WORKERS", "1"),
        ("weir_workers", "2"),
        ("cdn_host", "no setting"),
        // What Kubernetes sets for a Service named `weir`.
        ("WEIR_SERVICE_HOST", "10.0.0.1"),
        ("WEIR_PORT", "tcp://10.0.0.1:443"),
        ("WEIR_PORT_443_TCP_ADDR", "10.0.0.1"),
        // Named in the file.
        ("WEIR_CDN", "cdn"),
        ("WEIR_X", "no setting"),
        ("HOME", "/"),
    ];
    let file = "redirect: { cdn_host: \"${WEIR_CDN}\" }\n";
    let config = load(file, Flags::default(), &variables).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "warning: WEIR_REDIRCT_LISTEN is not a setting; the nearest one is WEIR_REDIRECT_LISTEN",
            "warning: WEIR_X is not a setting; the nearest one is WEIR_WORKERS",
        ]
    );
}

#[test]
fn example_file_states_the_defaults() {
    let example = include_str!("../../../config/example.yaml");
    let from_example = load_file(example).unwrap();
    let defaults = load_file("redirect: { cdn_host: cdn.example.com }\nworkers: 4\n").unwrap();
    assert_eq!(from_example, defaults);
}

#[test]
fn the_short_form_is_a_balancer_with_tcp_checks() {
    let config = load_file("port: 8080\nbackends:\n  - http://localhost:5001\n  - { url: http://10.0.0.2, weight: 3 }\n").unwrap();
    assert!(config.redirect.is_none());
    assert_eq!(config.http[0].listen, "0.0.0.0:8080".parse().unwrap());
    let upstream = &config.upstreams[0];
    let backends: Vec<String> = upstream
        .backends
        .iter()
        .map(|backend| format!("{} {}", backend.addr, backend.weight))
        .collect();
    assert_eq!(backends, ["localhost:5001 1", "10.0.0.2:80 3"]);
    assert_eq!(upstream.health_check, Some(HealthCheck::default()));
    for (check, expected) in [
        ("off", None),
        ("none", None),
        ("false", None),
        ("{ rise: 2 }", Some(HealthCheck::default())),
        ("{ http: /health }", Some(HealthCheck::new(health()))),
    ] {
        let yaml = format!("port: 8080\nbackends: [http://a]\nhealth_check: {check}\n");
        let config = load_file(&yaml).unwrap();
        assert_eq!(config.upstreams[0].health_check, expected, "{check}");
    }
    check_faults(
        "port: 8080\n",
        &["1:1: port needs backends, for example backends: [http://localhost:5001]"],
    );
    check_faults(
        "backends: [http://a]\n",
        &["1:1: backends needs a port, for example port: 8080"],
    );
}

fn health() -> Probe {
    Probe::Http(Box::new(HttpProbe::get("/health".parse().unwrap())))
}

#[test]
fn a_probe_names_its_host_and_headers() {
    let config = load_file(
        "port: 8080\nbackends: [http://a]\nhealth_check:\n  http: /health\n  host: app.example\n  \
         method: HEAD\n  headers: { X-Probe: weir }\n  status: 204\n",
    );
    let check = config.unwrap().upstreams[0].health_check.clone().unwrap();
    let Probe::Http(probe) = check.probe else {
        panic!("{check:?}");
    };
    assert_eq!(probe.host.unwrap(), "app.example");
    assert_eq!(
        (probe.method, probe.status),
        (::http::Method::HEAD, 204..=204)
    );
    assert_eq!(
        probe.headers,
        [("x-probe".parse().unwrap(), "weir".parse().unwrap())]
    );
    check_faults(
        "port: 8080\nbackends: [http://a]\nhealth_check: { tcp: true, host: a@b, method: TRACE, headers: { Host: b, A b: c } }\n",
        &[
            "3:28: host needs http: PATH",
            "3:34: health_check.host \"a@b\" is not a host such as app.internal:8080",
            "3:39: method needs http: PATH",
            "3:47: health_check.method \"TRACE\" must be GET, HEAD, POST, PUT or OPTIONS",
            "3:54: headers need http: PATH",
            "3:71: health_check.headers.Host has a key of its own: health_check.host",
            "3:79: health_check.headers.A b is not a header name",
        ],
    );
}

#[test]
fn faults_of_the_balancer_have_their_places() {
    check_faults(
        "http:\n  - listen: 0.0.0.0:8080\n    routes: [{ path: x, upstream: ap }, { pth: / }]\n    body_limit: 10\n  - {}\n\
         upstreams:\n  app:\n    balance: random\n    backends: [ftp://a, http://a/b, { weight: 0 }]\n\
         \x20   health_check: { htp: /health, timeout: 5s }\n  empty: {}\n",
        &[
            "3:22: http[1].routes[1].path \"x\" is not a path prefix such as /api",
            "3:35: http[1].routes[1].upstream \"ap\" is not an upstream; there are: app, empty",
            "3:41: http[1].routes[2].upstream is missing",
            "3:43: unknown key `pth` in http[1].routes[2]; did you mean `path`?",
            "4:17: http[1].body_limit \"10\" is not a size with a unit such as 512KiB or 10MiB, or none",
            "5:5: http[2].listen is missing, for example 0.0.0.0:8080",
            "5:5: http[2].routes is missing, for example [{ path: /, upstream: app }]",
            "8:14: upstreams.app.balance \"random\" must be round_robin, least_connections, random_two or consistent_hash",
            "9:16: upstreams.app.backends[1] \"ftp://a\" is not a backend such as http://127.0.0.1:8081: the scheme is http, h2c, https or tcp",
            "9:25: upstreams.app.backends[2] \"http://a/b\" is not a backend such as http://127.0.0.1:8081: only SCHEME://HOST:PORT is supported",
            "9:37: upstreams.app.backends[3].url is missing, for example http://127.0.0.1:8081",
            "9:47: upstreams.app.backends[3].weight \"0\" must be a whole number from 1 to 1000",
            "10:21: unknown key `htp` in upstreams.app.health_check; did you mean `http`?",
            "10:44: upstreams.app.health_check.timeout must not be longer than the interval, 2s",
            "11:10: upstream empty has no backends",
        ],
    );
}

#[test]
fn a_listener_needs_a_route() {
    check_faults(
        "http:\n  - listen: 127.0.0.1:8080\n    routes: []\n",
        &["3:5: http[1].routes is empty, so every request would be refused"],
    );
}

#[test]
fn balancer_example_is_valid() {
    let config = load_file(include_str!("../../../config/balancer.yaml")).unwrap();
    assert_eq!(
        (config.http.len(), config.tcp.len(), config.upstreams.len()),
        (1, 1, 9)
    );
    // What it does not say to be otherwise, it states as it is by default.
    let http = &config.http[0];
    assert_eq!(*http, Http::new(http.listen, http.router.clone()));
    let app = &config.upstreams[0];
    let defaults = Upstream::new("app", app.backends.clone());
    let health_check = Some(HealthCheck::new(health()));
    assert_eq!(
        *app,
        Upstream {
            health_check,
            ..defaults
        }
    );
    let compose = load_file(include_str!("../../../deploy/compose.yaml")).unwrap();
    assert_eq!(compose.upstreams[0].backends.len(), 3);
}
