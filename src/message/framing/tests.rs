use super::*;

#[track_caller]
fn check(version: Version, fields: &[(&str, &str)], expected: Result<Framing, FramingFault>) {
    let mut head = RequestHead::default();
    head.begin(b"POST", b"/", version);
    for (name, value) in fields {
        head.fields_mut().push(name.as_bytes(), value.as_bytes());
    }
    assert_eq!(request_framing(&head), expected, "{fields:?}");
}

const LENGTH: &str = "Content-Length";
const CODING: &str = "Transfer-Encoding";

#[test]
fn one_reading_only() {
    let v11 = Version::HTTP_11;
    check(v11, &[], Ok(Framing::Empty));
    check(v11, &[(LENGTH, "0")], Ok(Framing::Length(0)));
    check(
        v11,
        &[(LENGTH, "18446744073709551615")],
        Ok(Framing::Length(u64::MAX)),
    );
    check(v11, &[(CODING, "Chunked")], Ok(Framing::Chunked));
    for length in [
        "",
        "+5",
        "-1",
        "0x5",
        "1_0",
        "5 5",
        "5, 5",
        "18446744073709551616",
    ] {
        check(v11, &[(LENGTH, length)], Err(FramingFault::Length));
    }
    check(
        v11,
        &[(LENGTH, "5"), (LENGTH, "5")],
        Err(FramingFault::RepeatedLength),
    );
    for coding in [
        "",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "chunked;q=1",
    ] {
        check(v11, &[(CODING, coding)], Err(FramingFault::Coding));
    }
    check(
        v11,
        &[(CODING, "chunked"), (CODING, "chunked")],
        Err(FramingFault::Coding),
    );
    let both = [(LENGTH, "5"), (CODING, "chunked")];
    check(v11, &both, Err(FramingFault::LengthBesideCoding));
    check(
        Version::HTTP_10,
        &both[1..],
        Err(FramingFault::CodingInHttp10),
    );
    check(Version::HTTP_2, &[], Ok(Framing::UntilEnd));
    check(Version::HTTP_2, &both[1..], Err(FramingFault::Coding));
}

#[test]
fn some_responses_have_no_body() {
    let framing = |status, to_head| {
        let mut head = ResponseHead::default();
        head.begin(status, b"", Version::HTTP_11);
        head.fields_mut().push(b"content-length", b"7");
        response_framing(&head, to_head).unwrap()
    };
    assert_eq!(framing(200, false), Framing::Length(7));
    assert_eq!(framing(200, true), Framing::Empty);
    for status in [100, 204, 304] {
        assert_eq!(framing(status, false), Framing::Empty);
    }
    let mut bare = ResponseHead::default();
    bare.begin(200, b"", Version::HTTP_10);
    assert_eq!(response_framing(&bare, false), Ok(Framing::UntilEnd));
}
