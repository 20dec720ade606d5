//! The head of a request that is accepted has one reading, before and after it is rewritten.

use http::Version;
use weir::{
    http1::{FIELDS_MAX, parse_request},
    message::{Fields, Framing, RequestHead, host_of, request_framing},
};

/// Checks that a request which is accepted is read alike by a simple reader of lines, and by
/// `httparse` once it was rewritten. Returns whether it was accepted.
///
/// # Panics
///
/// If there is a second reading.
pub fn request_has_one_reading(bytes: &[u8]) -> bool {
    let mut head = RequestHead::default();
    let Ok(Some(length)) = parse_request(bytes, &mut head) else {
        return false;
    };
    let of_head = |length: usize| parse_request(&bytes[..length], &mut RequestHead::default());
    assert_eq!(of_head(length), Ok(Some(length)), "what follows counts");
    assert_eq!(of_head(length - 1), Ok(None), "complete before its end");
    check_lines(&bytes[..length], &head);
    let (Ok(framing), Ok(host)) = (request_framing(&head), host_of(&head)) else {
        return false;
    };
    check_framing(head.fields(), framing);
    if let Some((_scheme, rest)) = head
        .target()
        .split_once("://")
        .filter(|_| head.authority().is_some())
    {
        let authority = rest.split(['/', '?']).next();
        assert_eq!(
            authority.map(str::as_bytes),
            Some(host),
            "the target names the host"
        );
    }

    let written = rewrite(&head, host);
    check_written(&written);
    let mut again = RequestHead::default();
    let bytes = written.as_http1();
    assert_eq!(parse_request(bytes, &mut again), Ok(Some(bytes.len())));
    assert_eq!(again.as_http1(), bytes);
    assert_eq!(request_framing(&again), Ok(framing));
    assert_eq!(host_of(&again), Ok(host));
    assert_eq!(again.path_and_query(), head.path_and_query());
    if head.version() == Version::HTTP_11 {
        check_meaning(&head, &again);
    }
    true
}

/// Compares a head with its lines, split where a reader that knows CR LF alone splits them.
fn check_lines(bytes: &[u8], head: &RequestHead) {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let text = text.trim_start_matches("\r\n");
    let mut lines = text.split("\r\n");
    let start: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    assert_eq!(start.len(), 3, "{text:?}");
    assert_eq!(latin1(head.method()), start[0]);
    assert_eq!(latin1(head.target().as_bytes()), start[1]);
    for field in head.fields().iter() {
        let (name, value) = lines
            .next()
            .and_then(|line| line.split_once(':'))
            .expect("a field");
        assert_eq!(latin1(field.name), name);
        assert_eq!(latin1(field.value), value.trim_matches([' ', '\t']));
    }
    assert_eq!(lines.collect::<Vec<_>>(), ["", ""], "{text:?}");
}

/// Compares the framing with what fields by these names say.
fn check_framing(fields: &Fields, framing: Framing) {
    let named = |name: &[u8]| -> Vec<String> {
        let named = fields.iter().filter(|field| field.is_named(name));
        named.map(|field| latin1(field.value)).collect()
    };
    let (lengths, codings) = (named(b"content-length"), named(b"transfer-encoding"));
    match framing {
        Framing::Empty => assert!(lengths.is_empty() && codings.is_empty()),
        Framing::Length(length) => {
            let expected = length.to_string();
            assert!(codings.is_empty());
            assert!(
                matches!(&lengths[..], [one] if one.trim_start_matches('0') == expected.trim_start_matches('0'))
            );
        }
        Framing::Chunked => {
            assert!(lengths.is_empty());
            assert!(matches!(&codings[..], [one] if one.eq_ignore_ascii_case("chunked")));
        }
        Framing::UntilEnd => panic!("a request ends before its connection"),
    }
}

/// The head as a backend gets it: the host from the target if that names one.
fn rewrite(head: &RequestHead, host: &[u8]) -> RequestHead {
    let mut written = RequestHead::default();
    let target = head.path_and_query().as_bytes();
    written.begin(head.method(), target, Version::HTTP_11);
    written.fields_mut().push(b"host", host);
    for field in head
        .fields()
        .iter()
        .filter(|field| !field.is_named(b"host"))
    {
        written.fields_mut().push(field.name, field.value);
    }
    written.finish();
    written
}

/// Compares what was written with what `httparse` reads. The client's fields may be as many as are
/// allowed, and the host is one more where HTTP/1.0 had none.
fn check_written(written: &RequestHead) {
    let bytes = written.as_http1();
    let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX + 1];
    let mut read = httparse::Request::new(&mut table);
    assert_eq!(
        read.parse(bytes),
        Ok(httparse::Status::Complete(bytes.len()))
    );
    assert_eq!(read.method.map(str::as_bytes), Some(written.method()));
    assert_eq!(read.path, Some(written.path_and_query()));
    assert_eq!(read.version, Some(1));
    let expected: Vec<_> = written
        .fields()
        .iter()
        .map(|field| (field.name, field.value))
        .collect();
    let fields = read
        .headers
        .iter()
        .map(|field| (field.name.as_bytes(), field.value));
    assert_eq!(fields.collect::<Vec<_>>(), expected);
}

/// Compares what two heads of the same version mean to a proxy.
fn check_meaning(head: &RequestHead, again: &RequestHead) {
    assert_eq!(head.is_keep_alive(), again.is_keep_alive());
    assert_eq!(head.expects_continue(), again.expects_continue());
    assert_eq!(head.asked_upgrade(), again.asked_upgrade());
    assert_eq!(head.wants_trailers(), again.wants_trailers());
    assert_eq!(head.is_grpc(), again.is_grpc());
    assert_eq!((head.path(), head.query()), (again.path(), again.query()));
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
