use super::*;

fn head(version: Version, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.begin(b"GET", b"/a?b", version);
    for (name, value) in fields {
        head.fields_mut().push(name.as_bytes(), value.as_bytes());
    }
    head.finish();
    head
}

#[test]
fn a_built_head_is_what_http1_sends() {
    let head = head(Version::HTTP_11, &[("host", "h")]);
    assert_eq!(head.as_http1(), b"GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!((head.path(), head.query()), ("/a", Some("b")));
}

#[test]
fn connections_are_kept_as_the_version_says() {
    for (version, option, kept) in [
        (Version::HTTP_11, "", true),
        (Version::HTTP_11, "close", false),
        (Version::HTTP_11, "foo, Close", false),
        (Version::HTTP_10, "", false),
        (Version::HTTP_10, "keep-alive", true),
        // RFC 9112 section 9.3: `close` counts first.
        (Version::HTTP_10, "keep-alive, close", false),
        (Version::HTTP_11, "close, keep-alive", false),
    ] {
        let head = head(version, &[("Connection", option)]);
        assert_eq!(head.is_keep_alive(), kept, "{version:?} {option}");
    }
}

#[test]
fn an_upgrade_is_asked_for_by_two_fields() {
    let both = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "x")];
    assert_eq!(
        head(Version::HTTP_11, &both).asked_upgrade(),
        Some(&b"x"[..])
    );
    assert_eq!(head(Version::HTTP_11, &both[1..]).asked_upgrade(), None);
    let two = [both[0], both[1], ("Upgrade", "y")];
    assert_eq!(head(Version::HTTP_11, &two).asked_upgrade(), None);
    for (protocols, asked) in [("x, y", None), ("", None), (", x,", Some(&b"x"[..]))] {
        let list = [both[0], ("Upgrade", protocols)];
        let head = head(Version::HTTP_11, &list);
        assert_eq!(head.asked_upgrade(), asked, "{protocols}");
    }
    // RFC 9110 section 7.8: not in HTTP/1.0.
    assert_eq!(head(Version::HTTP_10, &both).asked_upgrade(), None);
}
