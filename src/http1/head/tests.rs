use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};

use super::*;
use crate::message::{Fields, Framing, FramingFault, request_framing, response_framing};

const WHOLE: &[u8] = b"POST /a\"<>|^?q HTTP/1.1\r\nHost: h\r\nX-Bytes: \xff\xfe \r\n\r\nbody";

#[test]
fn a_request_is_read_whole_or_not_at_all() {
    let mut head = RequestHead::default();
    let end = WHOLE.len() - 4;
    for cut in 0..end {
        assert_eq!(
            parse_request(&WHOLE[..cut], &mut head),
            Ok(None),
            "cut at {cut}"
        );
    }
    assert_eq!(parse_request(WHOLE, &mut head), Ok(Some(end)));
    assert_eq!((head.method(), head.target()), (&b"POST"[..], "/a\"<>|^?q"));
    assert_eq!(head.fields().value(b"x-bytes"), Some(&b"\xff\xfe"[..]));
    assert_eq!(head.version(), Version::HTTP_11);
}

#[test]
fn an_absolute_target_without_a_path_gets_one() {
    let mut head = RequestHead::default();
    let request = b"GET http://h:81?q=1 HTTP/1.1\r\nHost: h:81\r\n\r\n";
    assert_eq!(parse_request(request, &mut head), Ok(Some(request.len())));
    assert_eq!(head.authority(), Some(&b"h:81"[..]));
    assert_eq!(head.path_and_query(), "/?q=1");
    assert!(head.has_path());
    // RFC 9112 section 3.2.4.
    for (target, path) in [("http://h", "*"), ("http://h/", "/"), ("http://h?q", "/?q")] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(
            parse_request(request.as_bytes(), &mut head),
            Ok(Some(request.len()))
        );
        assert_eq!(
            (head.path_and_query(), head.is_options_asterisk()),
            (path, path == "*")
        );
    }
}

#[test]
fn what_is_no_head_is_refused() {
    let mut head = RequestHead::default();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost : h\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
    ] {
        let refused = parse_request(bytes, &mut head);
        assert!(
            matches!(refused, Err(HeadFault::Malformed(_))),
            "{refused:?}"
        );
    }
}

/// A front proxy may have forwarded a bare LF as part of a value.
#[test]
fn bare_line_feeds_are_refused_in_requests_alone() {
    let bare = Err(HeadFault::Malformed("a line break"));
    for (bytes, expected) in [
        ("GET / HTTP/1.1\nA: b\r\n\r\n", bare),
        ("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", bare),
        ("GET / HTTP/1.1\r\nA: b\n\r\n", bare),
        ("GET / HTTP/1.1\r\nA:\n\r\n", bare),
        ("GET / HTTP/1.1\r\nA: b\r\n\n", bare),
        ("\nGET / HTTP/1.1\r\n\r\n", bare),
        ("\n", Ok(None)),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(22))),
        // The lines behind the head do not belong to it.
        ("GET / HTTP/1.1\r\n\r\n\n", Ok(Some(18))),
    ] {
        let parsed = parse_request(bytes.as_bytes(), &mut RequestHead::default());
        assert_eq!(parsed, expected, "{bytes:?}");
    }
    let response = "HTTP/1.1 200 OK\nA: b\n\n";
    let mut head = ResponseHead::default();
    let parsed = parse_response(response.as_bytes(), &mut head);
    assert_eq!(parsed, Ok(Some(response.len())));
    assert_eq!(head.fields().value(b"a"), Some(&b"b"[..]));
}

/// `target()` is what is logged of a request that is refused.
#[test]
fn what_cannot_be_forwarded_is_refused() {
    let mut head = RequestHead::default();
    let usual = b"GET /a/long/path?q HTTP/1.1\r\n\r\n";
    assert!(parse_request(usual, &mut head).is_ok());
    for (line, target) in [
        ("CONNECT h:443", "h:443"),
        ("CONNECT /", "/"),
        ("CONNECT *", "*"),
        ("CONNECT http://h/", "http://h/"),
        ("GET h:443", "h:443"),
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: h:443\r\n\r\n");
        let refused = parse_request(bytes.as_bytes(), &mut head);
        assert_eq!(refused, Err(HeadFault::Target(TargetFault::NoPath)));
        assert_eq!((head.target(), head.path_and_query()), (target, target));
        assert!(!head.has_path() && !head.is_options_asterisk(), "{line}");
    }
}

#[test]
fn fields_are_counted() {
    for (count, expected) in [(FIELDS_MAX, true), (FIELDS_MAX + 1, false)] {
        let request = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        let parsed = parse_request(request.as_bytes(), &mut RequestHead::default());
        assert_eq!(parsed.is_ok(), expected, "{count} fields: {parsed:?}");
    }
}

#[test]
fn a_response_is_written_as_it_was_read() {
    let bytes = b"HTTP/1.1 299 Odd Reason\r\nA: b\r\nA: \xe9\r\n\r\n";
    let mut head = ResponseHead::default();
    assert_eq!(parse_response(bytes, &mut head), Ok(Some(bytes.len())));
    let mut written = ResponseHead::default();
    written.begin(head.status(), head.reason(), Version::HTTP_11);
    for field in head.fields().iter() {
        written.fields_mut().push(field.name, field.value);
    }
    written.finish();
    assert_eq!(written.as_http1(), bytes);
    written.begin(404, b"", Version::HTTP_11);
    assert_eq!(written.as_http1(), b"HTTP/1.1 404 Not Found\r\n");
}

/// Name and value of a field.
type Pair = (Vec<u8>, Vec<u8>);

fn pairs_of(fields: &Fields) -> Vec<Pair> {
    let pairs = fields.iter();
    pairs
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

/// The same head as it is written to a backend.
fn rewritten(head: &RequestHead) -> RequestHead {
    let mut written = RequestHead::default();
    written.begin(
        head.method(),
        head.path_and_query().as_bytes(),
        Version::HTTP_11,
    );
    for field in head.fields().iter() {
        written.fields_mut().push(field.name, field.value);
    }
    written.finish();
    written
}

/// Fields of which some frame a body.
fn fields() -> impl Strategy<Value = Vec<Pair>> {
    const NAMES: [&str; 6] = [
        "Host",
        "A",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "x!#$%&'*+-.^_`|~",
    ];
    let value = prop_oneof![
        select(&["", "5", "chunked", "close", "h", "\u{e9} \t\u{e9}"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        vec(prop_oneof![0x21..0x7f_u8, 0x80..=0xff_u8], 1..9),
    ];
    vec(
        (
            select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
            value,
        ),
        0..6,
    )
}

fn start_line() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof![
        "/[!-~]{0,9}",
        "https?://[a-z]{1,3}(:80)?[/?]?[!-~]{0,5}",
        r"\*",
        "[!-~\u{e9}]{1,9}"
    ];
    let line = ("[A-Z!#]{1,8}", target, 0..2_u8);
    line.prop_map(|(method, target, minor)| {
        format!("{method} {target} HTTP/1.{minor}").into_bytes()
    })
}

fn status_line() -> impl Strategy<Value = Vec<u8>> {
    "HTTP/1\\.[01] [0-9]{3}( [ -~\t\u{e9}]{0,9})?".prop_map(String::into_bytes)
}

/// A head of these parts with white space around its values.
fn head_of(start: &[u8], fields: &[Pair]) -> Vec<u8> {
    let lines = fields
        .iter()
        .map(|(name, value)| [name, &b": \t"[..], value, b" \r\n"].concat());
    [start, b"\r\n", &lines.collect::<Vec<_>>().concat(), b"\r\n"].concat()
}

/// Checks that each beginning of some bytes has the outcome that all of them have, or none yet.
fn check_beginnings<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, HeadFault>,
) -> Result<(), TestCaseError> {
    let whole = parse(bytes);
    for end in 0..bytes.len() {
        let parsed = parse(&bytes[..end]);
        prop_assert!(
            parsed == Ok(None) || parsed == whole,
            "{} {:?}",
            end,
            parsed
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_request_is_the_same_once_it_is_rewritten(start in start_line(), fields in fields()) {
        let bytes = head_of(&start, &fields);
        let mut head = RequestHead::default();
        let Ok(length) = parse_request(&bytes, &mut head) else {
            return Ok(());
        };
        prop_assert_eq!(length, Some(bytes.len()));
        prop_assert_eq!(&pairs_of(head.fields()), &fields);
        let written = rewritten(&head);
        let mut again = RequestHead::default();
        let length = parse_request(written.as_http1(), &mut again);
        prop_assert_eq!(length, Ok(Some(written.as_http1().len())));
        prop_assert_eq!(again.method(), head.method());
        prop_assert_eq!(again.target(), head.path_and_query());
        prop_assert_eq!(again.as_http1(), written.as_http1());
        prop_assert_eq!(pairs_of(again.fields()), fields);
        let framing = request_framing(&head);
        if framing != Err(FramingFault::CodingInHttp10) {
            prop_assert_eq!(request_framing(&again), framing);
        }
    }

    #[test]
    fn a_response_is_the_same_once_it_is_rewritten(start in status_line(), fields in fields()) {
        let bytes = head_of(&start, &fields);
        let mut head = ResponseHead::default();
        let Ok(length) = parse_response(&bytes, &mut head) else {
            return Ok(());
        };
        prop_assert_eq!(length, Some(bytes.len()));
        prop_assert_eq!(&pairs_of(head.fields()), &fields);
        let mut written = ResponseHead::default();
        written.begin(head.status(), head.reason(), Version::HTTP_11);
        for field in head.fields().iter() {
            written.fields_mut().push(field.name, field.value);
        }
        written.finish();
        let mut again = ResponseHead::default();
        let length = parse_response(written.as_http1(), &mut again);
        prop_assert_eq!(length, Ok(Some(written.as_http1().len())));
        prop_assert_eq!(again.status(), head.status());
        prop_assert_eq!(again.reason(), written.reason());
        prop_assert_eq!(pairs_of(again.fields()), fields);
        let framing = response_framing(&head, false);
        if framing != Err(FramingFault::CodingInHttp10) {
            prop_assert_eq!(response_framing(&again, false), framing);
        }
        prop_assert!(matches!(response_framing(&head, true), Ok(Framing::Empty) | Err(_)));
    }

    #[test]
    fn a_head_in_parts_is_the_same_head(
        start in prop_oneof![start_line(), status_line()],
        fields in fields(),
        wrong in option::of((any::<u8>(), any::<Index>())),
        rest in vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = [head_of(&start, &fields), rest].concat();
        if let Some((byte, place)) = wrong {
            bytes.insert(place.index(bytes.len()), byte);
        }
        check_beginnings(&bytes, |bytes| {
            let mut head = RequestHead::default();
            let length = parse_request(bytes, &mut head)?;
            Ok(length.map(|length| (length, rewritten(&head).as_http1().to_vec())))
        })?;
        check_beginnings(&bytes, |bytes| {
            let mut head = ResponseHead::default();
            let length = parse_response(bytes, &mut head)?;
            Ok(length.map(|length| (length, head.status(), pairs_of(head.fields()))))
        })?;
    }

    #[test]
    fn any_bytes_are_a_head_or_none(bytes in vec(any::<u8>(), 0..60)) {
        let _any = parse_request(&bytes, &mut RequestHead::default());
        let _any = parse_response(&bytes, &mut ResponseHead::default());
    }
}
