//! The rule, held against the contract's examples and the open-redirect lists. Its properties for
//! any input at all are in `tests/it/open_redirect.rs`.

use std::num::NonZeroU64;

use super::*;

fn policy(cdn: &str, clusters: &[&str]) -> RedirectPolicy {
    RedirectPolicy {
        cdn: CdnBase::parse(cdn).unwrap(),
        origin_every: NonZeroU64::new(10).unwrap(),
        clusters: OriginClusters::new(clusters).unwrap(),
    }
}

#[track_caller]
fn check_cdn(cdn: &str, video: &str, expected: &str) {
    let policy = policy(cdn, &["origin-cluster"]);
    let accepted = policy.accept(video).unwrap();
    assert_eq!(policy.cdn_url(&accepted), expected);
}

#[track_caller]
fn check_rejected(video: &str, expected: &str) {
    for clusters in [&["origin-cluster"][..], &["*"]] {
        let rejection = policy("cdn.example.com", clusters)
            .accept(video)
            .unwrap_err();
        assert_eq!(
            rejection.reason().label(),
            expected,
            "{video:?} with clusters {clusters:?}"
        );
    }
}

#[track_caller]
fn check_not_allowed(video: &str) {
    let rejection = policy("cdn.example.com", &["origin-cluster"]).accept(video);
    assert_eq!(rejection, Err(Rejection::HostNotAllowed), "{video:?}");
}

#[test]
fn every_tenth_turn_goes_to_the_origin() {
    let policy = policy("cdn", &["origin-cluster"]);
    let origin_turns: Vec<u64> = (1..=40)
        .filter(|&turn| policy.target(turn) == Target::Origin)
        .collect();
    assert_eq!(origin_turns, [10, 20, 30, 40]);
}

#[test]
fn cdn_address_is_base_server_and_the_rest_byte_for_byte() {
    let video = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8";
    check_cdn(
        "cdn.example.com",
        video,
        "http://cdn.example.com/s1/video/123/xcg2djHckad.m3u8",
    );
    check_cdn(
        "cdn",
        "https://s1.origin-cluster/a%2Fb%20c//..x?q=http://evil/../&y#f?@good/..",
        "https://cdn/s1/a%2Fb%20c//..x?q=http://evil/../&y#f?@good/..",
    );
    // The answer is in the one spelling, however the scheme and the server were written.
    check_cdn(
        "cdn",
        "HTTPS://My_S1.origin-cluster/X",
        "https://cdn/my_s1/X",
    );
    check_cdn("cdn", "http://s1.origin-cluster:8080/x", "http://cdn/s1/x");
}

#[test]
fn cdn_base_may_carry_scheme_port_and_prefix() {
    let video = "http://S1.Origin-Cluster/V";
    check_cdn(
        "https://cdn.example.com:8443/vod",
        video,
        "https://cdn.example.com:8443/vod/s1/V",
    );
    check_cdn(
        "https://cdn.example.com:8443/vod/",
        video,
        "https://cdn.example.com:8443/vod/s1/V",
    );
    check_cdn(
        "cdn.example.com:81",
        video,
        "http://cdn.example.com:81/s1/V",
    );
    check_cdn("CDN.example.com/", video, "http://cdn.example.com/s1/V");
    check_cdn("[::1]:9000", video, "http://[::1]:9000/s1/V");
    // Without a scheme the port belongs to whatever scheme the video has.
    check_cdn(
        "cdn:80",
        "https://s1.origin-cluster/V",
        "https://cdn:80/s1/V",
    );
}

#[test]
fn bad_cdn_bases_are_refused() {
    for text in [
        "",
        "ftp://cdn",
        "user@cdn",
        "http://a:b@cdn",
        "cdn?x",
        "cdn#x",
        "http://",
        "/cdn",
        "http:///cdn",
        "c dn",
        "cdn\\x",
        "cdn:0x50",
        "cdn:65536",
        "cdn..com",
        "[::1",
        "@cdn",
        "http://@cdn",
        "c\u{e9}dn",
    ] {
        assert!(CdnBase::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn bad_clusters_are_refused() {
    for text in [
        "", "a..b", ".a", "a.", "a b", "*.a", "a/b", "127", "a.0x7f", "a:80",
    ] {
        let error = OriginClusters::new(&["good", text]).unwrap_err();
        assert_eq!(error.index, 1, "{text:?}");
    }
}

#[test]
fn length_is_limited() {
    let longest = format!(
        "http://s1.origin-cluster/{}",
        "a".repeat(VIDEO_URL_BYTES_MAX - 25)
    );
    assert_eq!(longest.len(), VIDEO_URL_BYTES_MAX);
    assert!(policy("cdn", &["origin-cluster"]).accept(&longest).is_ok());
    check_rejected(&format!("{longest}a"), "too_long");
    check_rejected("", "empty");
}

#[test]
fn doubtful_characters_are_refused_with_their_place() {
    check_rejected("http://s1.origin-cluster/a b", "space");
    check_rejected("http: //s1.origin-cluster/", "space");
    // Around it, white space does not count.
    check_cdn(
        "cdn",
        " \t\r\nhttp://s1.origin-cluster/x\n ",
        "http://cdn/s1/x",
    );
    for control in ["\r", "\n", "\t", "\0", "\u{7f}", "\u{1b}"] {
        check_rejected(
            &format!("http://s1.origin-cluster/a{control}b"),
            "control_character",
        );
    }
    for control in ["\0", "\u{7f}", "\u{1b}"] {
        check_rejected(
            &format!("{control}http://s1.origin-cluster/"),
            "control_character",
        );
    }
    check_rejected("http://evil\\@s1.origin-cluster/", "backslash");
    check_rejected("/\\evil", "backslash");
    check_rejected("\\/\\/evil", "backslash");
    check_rejected("https://:@evil\\@s1.origin-cluster", "backslash");
    check_rejected("http://evil\u{3002}com/", "non_ascii");
    check_rejected("http://\u{ff53}1.origin-cluster/", "non_ascii");
    check_rejected("http://s1.origin-cluster/\u{e9}", "non_ascii");
    let rejection = policy("cdn", &["*"])
        .accept("http://s1.origin-cluster/a b")
        .unwrap_err();
    assert_eq!(rejection, Rejection::Space { at: 26 });
}

#[test]
fn only_literal_http_and_https_are_redirected() {
    for video in [
        "//evil/x",
        "///evil",
        "http:evil",
        "http:/evil",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://s1.origin-cluster/",
        "JaVaScRiPt:alert(1)",
        "s1.origin-cluster/video",
        "httpx://s1.origin-cluster/",
        "ws://s1.origin-cluster/",
    ] {
        check_rejected(video, "scheme");
    }
}

/// A CDN would resolve them and leave the server's directory.
#[test]
fn dot_segments_are_refused() {
    for path in [
        "..",
        ".",
        "../x",
        "a/./x",
        "a/../../x",
        "%2e%2E/x",
        ".%2e",
        "%2e.?q",
        "a/..#f",
        "%2E",
    ] {
        check_rejected(&format!("http://s1.origin-cluster/{path}"), "dot_segment");
    }
    for path in [
        "...",
        "..a",
        ".a",
        "a.",
        "%2e%2e%2e",
        "%252e",
        "x?../",
        "x#/../",
    ] {
        check_cdn(
            "cdn/tenant",
            &format!("http://s1.origin-cluster/{path}"),
            &format!("http://cdn/tenant/s1/{path}"),
        );
    }
    let rejected = policy("cdn", &["origin-cluster"]);
    let rejected = rejected
        .accept("http://s1.origin-cluster/a/../b")
        .unwrap_err();
    assert_eq!(rejected, Rejection::DotSegment { at: 27 });
}

#[test]
fn user_information_is_refused() {
    for video in [
        "http://s1.origin-cluster@evil/",
        "http://s1.origin-cluster:80@evil/",
        "http://evil@s1.origin-cluster/",
        "http://@s1.origin-cluster/",
        "http://a:b@s1.origin-cluster/",
        "http://s1.origin-cluster%40@evil/",
    ] {
        check_rejected(video, "user_info");
    }
}

#[test]
fn ip_addresses_are_refused_in_all_spellings() {
    for video in [
        "http://127.0.0.1/x",
        "http://0x7f.1/x",
        "http://2130706433/x",
        "http://0177.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[fe80::1%25eth0]/x",
        "http://169.254.169.254/latest",
        "http://127.1/x",
        "http://1.2.3.4.5/x",
        "http://s1.256/x",
        "http://s1.0x/x",
        "http://s1.0X7F/x",
    ] {
        check_rejected(video, "ip_literal");
    }
}

#[test]
fn ports_out_of_range_are_refused() {
    for port in [
        "0",
        "65536",
        "",
        "80:80",
        "+80",
        "-1",
        "8a",
        "99999999999",
        "000080",
    ] {
        check_rejected(&format!("http://s1.origin-cluster:{port}/x"), "port");
    }
    assert!(
        policy("cdn", &["*"])
            .accept("http://s1.origin-cluster:65535/x")
            .is_ok()
    );
}

#[test]
fn a_path_is_needed() {
    for video in [
        "http://s1.origin-cluster",
        "http://s1.origin-cluster?x=/",
        "http://s1.origin-cluster#/",
        "http://",
    ] {
        check_rejected(video, "missing_path");
    }
}

#[test]
fn malformed_hosts_are_refused() {
    let long_label = "a".repeat(64);
    let long_host = format!("s1.{}", ["a"; 130].join("."));
    for host in [
        "",
        ".",
        "s1..origin-cluster",
        ".origin-cluster",
        "s1.origin-cluster.",
        "good%2eevil",
        "good%00.evil",
        "s1.origin_cluster",
        "s1.origin-cluster%2f",
        "xn--zzzzzzz99999.origin-cluster",
        "s*.origin-cluster",
        "s1,origin-cluster",
        &long_label,
        &long_host,
    ] {
        check_rejected(&format!("http://{host}/x"), "malformed_host");
    }
    check_rejected("https:///evil", "malformed_host");
}

#[test]
fn hosts_outside_the_clusters_are_not_allowed() {
    for host in [
        "good.evil.com",
        "evilgood",
        "origin-cluster",
        "a.b.origin-cluster",
        "s1.origin-cluster.evil.com",
        "s1.evil-origin-cluster",
        "xn--bcher-kva.example",
        "localhost",
    ] {
        check_not_allowed(&format!("http://{host}/x"));
    }
}

#[test]
fn star_allows_any_host_of_two_labels() {
    let policy = policy("cdn", &["*"]);
    assert_eq!(
        policy.cdn_url(&policy.accept("http://a.b.c/x").unwrap()),
        "http://cdn/a/x"
    );
    assert!(policy.accept("http://S1.xn--bcher-kva.example/x").is_ok());
    assert_eq!(
        policy.accept("http://localhost/x"),
        Err(Rejection::HostNotAllowed)
    );
}
