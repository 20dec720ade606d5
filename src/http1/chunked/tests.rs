use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use super::*;

/// What a reader finds in some bytes.
#[derive(Debug, Eq, PartialEq)]
struct Found {
    payload: Vec<u8>,
    /// The trailers, one a line.
    trailers: String,
    /// What is left behind the body.
    rest: Vec<u8>,
}

/// Reads a body in parts. A part may be empty.
fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Found, BodyFault> {
    let mut decoder = ChunkedDecoder::default();
    let mut found = Found {
        payload: Vec::new(),
        trailers: String::new(),
        rest: Vec::new(),
    };
    for mut part in parts {
        while let Some(piece) = decoder.decode(&mut part)? {
            match piece {
                Piece::Data(data) => {
                    assert!(!data.is_empty());
                    found.payload.extend_from_slice(data);
                }
                Piece::End(trailers) => {
                    for field in trailers.iter().flat_map(|trailers| trailers.iter()) {
                        found.trailers += &format!(
                            "{}:{}\n",
                            field.name.escape_ascii(),
                            field.value.escape_ascii()
                        );
                    }
                }
            }
        }
        found.rest.extend_from_slice(part);
    }
    match decoder.is_done() {
        true => Ok(found),
        false => Err(BodyFault::Truncated),
    }
}

/// Checks what is found in a body, in one piece, cut in two anywhere, and byte by byte.
#[track_caller]
fn check(body: &str, expected: Result<(&str, &str, &str), BodyFault>) {
    let body = body.as_bytes();
    let expected = expected.map(|(payload, trailers, rest)| Found {
        payload: payload.into(),
        trailers: trailers.into(),
        rest: rest.into(),
    });
    for cut in 0..=body.len() {
        let (start, end) = body.split_at(cut);
        assert_eq!(
            read([start, end]),
            expected,
            "{} cut at {cut}",
            body.escape_ascii()
        );
    }
    assert_eq!(read(body.chunks(1)), expected, "{}", body.escape_ascii());
}

#[test]
fn chunks_are_read_wherever_they_are_split() {
    check("3\r\nabc\r\n0\r\n\r\n", Ok(("abc", "", "")));
    check("0\r\n\r\nGET", Ok(("", "", "GET")));
    check(
        "1\r\na\r\n00A\r\n0123456789\r\n0\r\nA: b\r\nc:d\r\n\r\nx",
        Ok(("a0123456789", "A:b\nc:d\n", "x")),
    );
    for extension in [
        ";",
        ";a",
        ";a=b",
        ";a= \"x;\\\"y\" ;b",
        ";a=\"\"",
        "; a = b\t;\u{e9}",
    ] {
        check(
            &format!("1{extension}\r\na\r\n0{extension}\r\n\r\n"),
            Ok(("a", "", "")),
        );
    }
}

#[test]
fn sizes_are_strict() {
    for size in [
        "",
        "0x5",
        "+5",
        "-0",
        "5_",
        " 5",
        "5 ",
        "g",
        "11111111111111111",
    ] {
        check(
            &format!("{size}\r\nabcde\r\n0\r\n\r\n"),
            Err(BodyFault::Size),
        );
    }
    check("1\na", Err(BodyFault::Size));
    check("ffffffffffffffff\r\na", Err(BodyFault::Truncated));
}

#[test]
fn line_breaks_are_strict() {
    check("1\r\nab\r\n", Err(BodyFault::LineBreak));
    check("1\r\na\n0\r\n\r\n", Err(BodyFault::LineBreak));
    check("1\r\na\r0\r\n\r\n", Err(BodyFault::LineBreak));
    check("1\rx", Err(BodyFault::LineBreak));
    check("0\r\n\n", Err(BodyFault::Trailers));
    check("0\r\na: b\n\r\n", Err(BodyFault::Trailers));
    check("0\r\na: b\rc\r\n\r\n", Err(BodyFault::Trailers));
    check("0\r\n\rx", Err(BodyFault::Trailers));
}

#[test]
fn extensions_have_no_second_reading() {
    for extension in [
        ";a\nb",
        ";a\x00",
        ";a\x7f",
        ";a=\"\n",
        ";\"a\"",
        ";a=b\"c\"",
        ";a\\",
        ";a=\\\"b\"",
        ";a=\"b\"c",
        ";a=\"b\"\"c\"",
        ";a=\"b\\\r\n\"",
    ] {
        check(&format!("1{extension}\r\na"), Err(BodyFault::Extension));
    }
    // The line break of an unfinished quote is inside it, where control characters are refused.
    check("1;a=\"b\r\na\r\n0\r\n\r\n", Err(BodyFault::Extension));
}

#[test]
fn trailers_are_fields() {
    for trailers in ["no colon", " a: b", "a : b", "a: b\r\n c"] {
        check(
            &format!("0\r\n{trailers}\r\n\r\n"),
            Err(BodyFault::Trailers),
        );
    }
}

#[test]
fn what_is_passed_over_is_bounded() {
    for (length, fits) in [
        (EXTENSION_BYTES_MAX - 1, true),
        (EXTENSION_BYTES_MAX, false),
    ] {
        let body = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(length));
        assert_eq!(
            read([body.as_bytes()]).is_ok(),
            fits,
            "{length} bytes of extension"
        );
    }
    for (length, fits) in [
        (TRAILER_BYTES_MAX - 3, true),
        (TRAILER_BYTES_MAX - 2, false),
    ] {
        let body = format!("0\r\na: {}\r\n\r\n", "t".repeat(length));
        assert_eq!(
            read([body.as_bytes()]).is_ok(),
            fits,
            "{length} bytes of trailer"
        );
    }
}

#[test]
fn a_fault_is_for_good() {
    for (bad, fault) in [
        ("1\n", BodyFault::Size),
        ("1\r\nab", BodyFault::LineBreak),
        ("0\r\nno colon\r\n\r\n", BodyFault::Trailers),
    ] {
        let mut decoder = ChunkedDecoder::default();
        let mut input = bad.as_bytes();
        let first =
            std::iter::from_fn(|| decoder.decode(&mut input).transpose()).find(Result::is_err);
        assert_eq!(first.map(Result::unwrap_err), Some(fault));
        assert!(!decoder.is_done());
        for mut more in [&b""[..], b"\r\n0\r\n\r\n"] {
            assert_eq!(decoder.decode(&mut more).unwrap_err(), fault);
        }
    }
}

/// A size in any form, an extension, the payload, and the line break.
fn chunk() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    const EXTENSIONS: [&str; 6] = ["", "", ";", ";a=b", ";a=\"\\\"; \" ;b", ";\u{e9}"];
    let size = (0..4_usize, any::<bool>());
    (size, select(&EXTENSIONS[..]), vec(any::<u8>(), 1..40)).prop_map(
        |((zeros, is_upper), extension, payload)| {
            let zeros = "0".repeat(zeros);
            let size = match is_upper {
                true => format!("{zeros}{:X}{extension}\r\n", payload.len()),
                false => format!("{zeros}{:x}{extension}\r\n", payload.len()),
            };
            let coded = [size.as_bytes(), &payload, b"\r\n"].concat();
            (payload, coded)
        },
    )
}

/// Bytes that are nearly a body.
fn nearly_body() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: [&str; 20] = [
        "0\r\n",
        "0\r\n\r\n",
        "1\r\na\r\n",
        "2;a=\"b\"\r\nab\r\n",
        "\r\n",
        "\r",
        "\n",
        "0",
        "1",
        "F",
        ";",
        "\"",
        "\\",
        "=",
        " ",
        "a: b\r\n",
        "a",
        ":",
        "\0",
        "\u{e9}",
    ];
    vec(select(&PARTS[..]), 0..20).prop_map(|parts| parts.concat().into_bytes())
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn what_was_coded_is_found(
        chunks in vec(chunk(), 0..6),
        trailers in vec("[a-z][!-9;-~]{0,9}", 0..4),
        rest in vec(any::<u8>(), 0..20),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let (payload, coded): (Vec<_>, Vec<_>) = chunks.into_iter().unzip();
        let lines: String = trailers.iter().map(|value| format!("T: {value}\r\n")).collect();
        let bytes = [&coded.concat(), "0\r\n".as_bytes(), lines.as_bytes(), b"\r\n", &rest].concat();
        let expected = Found {
            payload: payload.concat(),
            trailers: trailers.iter().map(|value| format!("T:{}\n", value.escape_default())).collect(),
            rest,
        };
        prop_assert_eq!(read(cut(&bytes, &cuts)), Ok(expected));
    }

    #[test]
    fn any_bytes_are_the_same_in_parts(
        bytes in prop_oneof![nearly_body(), vec(any::<u8>(), 0..60)],
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let whole = read([&bytes[..]]);
        prop_assert_eq!(&read(cut(&bytes, &cuts)), &whole);
        prop_assert_eq!(&read(bytes.chunks(1)), &whole);
    }
}
