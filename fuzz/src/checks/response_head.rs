//! The head of a response that is accepted has one reading, before and after it is rewritten.

use http::Version;
use weir::{
    http1::{FIELDS_MAX, parse_response},
    message::{Framing, ResponseHead, keep_alive_timeout, response_framing},
};

/// Checks that a response which is accepted is read alike by `httparse` once it was rewritten.
/// Returns whether it was accepted.
///
/// # Panics
///
/// If there is a second reading.
pub fn response_has_one_reading(bytes: &[u8]) -> bool {
    let mut head = ResponseHead::default();
    let Ok(Some(length)) = parse_response(bytes, &mut head) else {
        return false;
    };
    let of_head = |length: usize| parse_response(&bytes[..length], &mut ResponseHead::default());
    assert_eq!(of_head(length), Ok(Some(length)), "what follows counts");
    assert_eq!(of_head(length - 1), Ok(None), "complete before its end");
    assert!((100..1000).contains(&head.status()));
    let (framing, to_head) = (
        response_framing(&head, false),
        response_framing(&head, true),
    );
    assert_eq!(to_head, framing.map(|_| Framing::Empty));
    let Ok(framing) = framing else {
        return false;
    };

    let written = rewrite(&head);
    check_written(&written);
    let mut again = ResponseHead::default();
    let bytes = written.as_http1();
    assert_eq!(parse_response(bytes, &mut again), Ok(Some(bytes.len())));
    assert_eq!(again.as_http1(), bytes);
    assert_eq!(response_framing(&again, false), Ok(framing));
    assert_eq!(
        keep_alive_timeout(again.fields()),
        keep_alive_timeout(head.fields())
    );
    if head.version() == Version::HTTP_11 {
        assert_eq!(again.is_keep_alive(), head.is_keep_alive());
        assert_eq!(
            again.switches_to(b"websocket"),
            head.switches_to(b"websocket")
        );
    }
    true
}

fn rewrite(head: &ResponseHead) -> ResponseHead {
    let mut written = ResponseHead::default();
    written.begin(head.status(), head.reason(), Version::HTTP_11);
    for field in head.fields().iter() {
        written.fields_mut().push(field.name, field.value);
    }
    written.finish();
    written
}

/// Compares what was written with what `httparse` reads.
fn check_written(written: &ResponseHead) {
    let bytes = written.as_http1();
    let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut read = httparse::Response::new(&mut table);
    assert_eq!(
        read.parse(bytes),
        Ok(httparse::Status::Complete(bytes.len()))
    );
    assert_eq!(read.code, Some(written.status()));
    assert_eq!(read.reason.map(str::as_bytes), Some(written.reason()));
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
    assert!(
        bytes
            .windows(2)
            .all(|pair| pair[1] != b'\n' || pair[0] == b'\r')
    );
}
