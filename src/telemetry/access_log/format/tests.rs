use std::{net::IpAddr, time::UNIX_EPOCH};

use proptest::{collection::vec, option, prelude::*};

use super::*;

const LINE: RequestLine<'static> = RequestLine {
    method: "GET",
    target: "/a?b=c",
    version: Version::HTTP_11,
};

fn entry() -> Entry<'static> {
    Entry {
        time: UNIX_EPOCH + Duration::from_micros(1_795_176_000_000_042),
        client: IpAddr::from([192, 0, 2, 1]),
        request: Some(LINE),
        host: b"example.org",
        status: 200,
        body_bytes_sent: 1_234,
        body_bytes_received: 0,
        referer: Some(b"http://a/"),
        user_agent: Some(b"curl/8"),
        request_id: b"r-1",
        upstream: Some("web"),
        attempts: &[
            Attempt {
                backend: &"10.0.0.2:80",
                failed: Some("connect_refused"),
            },
            Attempt {
                backend: &"10.0.0.1:80",
                failed: None,
            },
        ],
        cause: "ok",
        first_byte: Some(Duration::from_micros(1_500)),
        total: Duration::from_micros(2_000_001),
    }
}

/// As little as there can be.
fn bare() -> Entry<'static> {
    Entry {
        client: "2001:db8::1".parse().unwrap(),
        request: Some(RequestLine {
            version: Version::HTTP_2,
            ..LINE
        }),
        host: b"",
        referer: None,
        user_agent: None,
        request_id: b"",
        upstream: None,
        attempts: &[],
        cause: "no_route",
        first_byte: None,
        ..entry()
    }
}

fn line(format: LogFormat, entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    push_line(format, &mut out, &mut Timestamp::default(), entry);
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(format: LogFormat, entry: &Entry<'_>, expected: &str) {
    assert_eq!(line(format, entry), format!("{expected}\n"));
}

#[test]
fn combined_is_what_nginx_writes_and_our_fields() {
    check(
        LogFormat::Combined,
        &entry(),
        r#"192.0.2.1 - - [20/Nov/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "http://a/" "curl/8" "example.org" web 10.0.0.2:80,10.0.0.1:80 2 ok 0.001500 2.000001 "r-1" connect_refused"#,
    );
    check(
        LogFormat::Combined,
        &bare(),
        r#"2001:db8::1 - - [20/Nov/2026:12:00:00 +0000] "GET /a?b=c HTTP/2.0" 200 1234 "-" "-" "-" - - 0 no_route - 2.000001 "-" -"#,
    );
}

#[test]
fn combined_keeps_hostile_fields_in_their_place() {
    let hostile = Entry {
        request: Some(RequestLine {
            target: "/\" 200 1 \"",
            ..LINE
        }),
        user_agent: Some(b"a\r\n192.0.2.9 - -"),
        upstream: Some("two words"),
        attempts: &[Attempt {
            backend: &"a\nb",
            failed: Some("c d"),
        }],
        ..entry()
    };
    check(
        LogFormat::Combined,
        &hostile,
        r#"192.0.2.1 - - [20/Nov/2026:12:00:00 +0000] "GET /\x22 200 1 \x22 HTTP/1.1" 200 1234 "http://a/" "a\x0D\x0A192.0.2.9 - -" "example.org" two\x20words a\x0Ab 1 ok 0.001500 2.000001 "r-1" c\x20d"#,
    );
}

#[test]
fn json_has_all_keys() {
    check(
        LogFormat::Json,
        &entry(),
        r#"{"timestamp":"2026-11-20T12:00:00.000042Z","client":"192.0.2.1","method":"GET","target":"/a?b=c","protocol":"HTTP/1.1","host":"example.org","status":200,"body_bytes_sent":1234,"body_bytes_received":0,"referer":"http://a/","user_agent":"curl/8","request_id":"r-1","upstream":"web","backend":"10.0.0.1:80","attempts":2,"failed_attempts":[{"backend":"10.0.0.2:80","cause":"connect_refused"}],"cause":"ok","first_byte_seconds":0.001500,"total_seconds":2.000001}"#,
    );
    check(
        LogFormat::Json,
        &bare(),
        r#"{"timestamp":"2026-11-20T12:00:00.000042Z","client":"2001:db8::1","method":"GET","target":"/a?b=c","protocol":"HTTP/2.0","host":null,"status":200,"body_bytes_sent":1234,"body_bytes_received":0,"referer":null,"user_agent":null,"request_id":null,"upstream":null,"backend":null,"attempts":0,"failed_attempts":[],"cause":"no_route","first_byte_seconds":null,"total_seconds":2.000001}"#,
    );
}

#[test]
fn what_is_no_request_has_no_request_line() {
    let entry = Entry {
        request: None,
        ..bare()
    };
    let combined = line(LogFormat::Combined, &entry);
    assert!(combined.contains("+0000] \"-\" 200"), "{combined}");
    let json = line(LogFormat::Json, &entry);
    let nothing = r#""method":null,"target":null,"protocol":null,"#;
    assert!(json.contains(nothing), "{json}");
}

#[test]
fn numbers_are_written_at_their_limits() {
    for number in [0, 9, 10, 99, 100, u64::MAX] {
        let mut out = Vec::new();
        push_number(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
    }
    let mut out = Vec::new();
    push_seconds(&mut out, Duration::MAX);
    assert_eq!(out, b"18446744073709551615.999999");
}

/// Bytes of all kinds, often the dangerous ones.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let dangerous = prop::sample::select(b"\r\n\0\"\\\x1b\x7f\xc2\x85\xe2\x80\xa8 -".to_vec());
    vec(prop_oneof![any::<u8>(), dangerous], 0..40)
}

proptest! {
    #[test]
    fn nothing_from_outside_can_forge_a_line(
        target in ".*",
        [host, agent, id] in [bytes(), bytes(), bytes()],
        referer in option::of(bytes()),
        backend in ".*",
    ) {
        let entry = Entry {
            request: Some(RequestLine {
                target: &target,
                ..LINE
            }),
            host: &host,
            user_agent: Some(&agent),
            request_id: &id,
            referer: referer.as_deref(),
            upstream: Some(&target),
            attempts: &[Attempt {
                backend: &backend,
                failed: Some("lost"),
            }],
            ..entry()
        };
        let combined = line(LogFormat::Combined, &entry);
        let inner = combined.strip_suffix('\n').unwrap();
        prop_assert!(inner.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{inner}");
        // Five quoted fields, whatever is in them.
        prop_assert_eq!(inner.matches('"').count(), 10, "{}", inner);

        let json = line(LogFormat::Json, &entry);
        let inner = json.strip_suffix('\n').unwrap();
        prop_assert!(!inner.contains(|char: char| char.is_control()), "{inner}");
        prop_assert!(!inner.contains(['\u{2028}', '\u{2029}']), "{inner}");
        let read: serde_json::Value = serde_json::from_str(inner).unwrap();
        prop_assert_eq!(read["target"].as_str(), Some(target.as_str()));
        prop_assert_eq!(read["backend"].as_str(), Some(backend.as_str()));
        let agent = String::from_utf8_lossy(&agent);
        prop_assert_eq!(read["user_agent"].as_str(), Some(&*agent));
        prop_assert_eq!(read.as_object().unwrap().len(), 19);
    }
}
