//! Listeners beside each other.

use super::{Flags, check_faults, load, load_file};

#[test]
fn listeners_must_not_conflict() {
    let with = |redirect: &str, admin: &str, first: &str, second: &str| {
        let listener =
            |listen| format!("  - listen: {listen}\n    routes: [{{ path: /, upstream: app }}]\n");
        format!(
            "redirect: {{ cdn_host: cdn, listen: \"{redirect}\" }}\nadmin: {{ listen: \"{admin}\" }}\n\
             http:\n{}{}upstreams: {{ app: {{ backends: [\"http://a:1\"] }} }}\n",
            listener(first),
            listener(second)
        )
    };
    let local = |port: u16| format!("127.0.0.1:{port}");
    let check = |addrs: [String; 4], expected: &[&str]| {
        let [redirect, admin, first, second] = addrs;
        let yaml = with(&redirect, &admin, &first, &second);
        match expected {
            [] => drop(load_file(&yaml).unwrap()),
            _ => check_faults(&yaml, expected),
        }
    };
    check([local(1), local(2), local(3), local(4)], &[]);
    check([local(0), local(0), local(0), local(0)], &[]);
    check(
        [local(1), local(2), local(3), "127.0.0.2:3".to_owned()],
        &[],
    );
    check(
        [local(1), local(2), local(3), "0.0.0.0:3".to_owned()],
        &["6:13: http[2].listen 0.0.0.0:3 and http[1].listen 127.0.0.1:3 conflict"],
    );
    check(
        [local(1), local(1), local(3), local(4)],
        &["1:36: redirect.listen 127.0.0.1:1 and admin.listen 127.0.0.1:1 conflict"],
    );
    check(
        [local(1), local(2), "0.0.0.0:2".to_owned(), local(4)],
        &["4:13: http[1].listen 0.0.0.0:2 and admin.listen 127.0.0.1:2 conflict"],
    );
    check(
        ["[::]:4".to_owned(), local(2), local(3), local(4)],
        &["6:13: http[2].listen 127.0.0.1:4 and redirect.listen [::]:4 conflict"],
    );
    check(
        [local(1), local(2), local(3), local(3)],
        &["6:13: http[2].listen 127.0.0.1:3 and http[1].listen 127.0.0.1:3 conflict"],
    );
}

#[test]
fn the_place_of_a_clash_is_what_was_written() {
    for (yaml, expected) in [
        (
            "port: 8404\nbackends: [http://a]\n",
            "1:7: port 0.0.0.0:8404 and admin.listen 127.0.0.1:8404 conflict",
        ),
        (
            "redirect: { cdn_host: a }\nadmin: { listen: 0.0.0.0:50051 }\n",
            "2:18: redirect.listen 0.0.0.0:50051 and admin.listen 0.0.0.0:50051 conflict",
        ),
        (
            "redirect: { cdn_host: a, listen: nowhere }\nadmin: { listen: 0.0.0.0:50051 }\n",
            "1:34: redirect.listen \"nowhere\" is not an address and port such as 127.0.0.1:8404 or [::]:50051",
        ),
    ] {
        check_faults(yaml, &[expected]);
    }
    let admin = Flags {
        admin_listen: Some("127.0.0.1:50051".to_owned()),
        ..Flags::default()
    };
    let text = load("redirect: { cdn_host: a }\n", admin, &[])
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "error: --admin-listen: redirect.listen 0.0.0.0:50051 and admin.listen 127.0.0.1:50051 conflict"
    );
}

/// Each of these would answer every request with a fault, or lead it to a host that is not there.
#[test]
fn addresses_that_cannot_work_are_refused() {
    for cdn in [
        "http://http://x",
        "http:/cdn.example.com",
        "http//cdn",
        "cdn:0",
        "cdn:",
        "cdn//a",
    ] {
        let loaded = load_file(&format!("redirect: {{ cdn_host: \"{cdn}\" }}\n"));
        assert!(loaded.is_err(), "{cdn}");
    }
    for cdn in ["cdn", "cdn:81", "http://cdn/a/b/", "[::1]:81"] {
        let loaded = load_file(&format!("redirect: {{ cdn_host: \"{cdn}\" }}\n"));
        assert!(loaded.is_ok(), "{cdn}");
    }
    for backend in [
        "http://$${APP_HOST}:80",
        "http://a..b",
        "http://*.x",
        "h2c://a$b:1",
    ] {
        let loaded = load_file(&format!("port: 8080\nbackends: [\"{backend}\"]\n"));
        let error = loaded.unwrap_err().to_string();
        assert!(error.contains("is not a backend such as"), "{error}");
    }
    check_faults(
        "http:\n  - listen: 127.0.0.1:1\n    routes: [{ host: \"${HOST}\", upstream: app }, { host: app.example., upstream: app }]\n\
         upstreams:\n  app: { backends: [http://app_1:80], balance: consistent_hash, hash_by: \"cookie:a=b\" }\n",
        &[
            "3:22: the variable HOST is not set; set it, or write ${HOST:-DEFAULT}",
            "5:74: upstreams.app.hash_by \"cookie:a=b\" is not a part of a request; there are: client_address, path, header:NAME, cookie:NAME",
        ],
    );
}
