use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

#[test]
fn a_length_is_followed_by_what_comes_next() {
    let mut decoder = BodyDecoder::new(Framing::Length(3));
    let mut input = &b"ab"[..];
    assert!(matches!(
        decoder.decode(&mut input),
        Ok(Some(Piece::Data(b"ab")))
    ));
    assert!(matches!(decoder.decode(&mut input), Ok(None)));
    let mut input = &b"cGET"[..];
    assert!(matches!(
        decoder.decode(&mut input),
        Ok(Some(Piece::Data(b"c")))
    ));
    assert!(!decoder.is_done());
    assert!(matches!(
        decoder.decode(&mut input),
        Ok(Some(Piece::End(None)))
    ));
    assert!(decoder.is_done());
    assert!(matches!(decoder.decode(&mut input), Ok(None)));
    assert_eq!(input, b"GET");
}

#[test]
fn an_end_before_the_end_is_a_fault() {
    for framing in [Framing::Length(1), Framing::Chunked] {
        let mut decoder = BodyDecoder::new(framing);
        assert!(matches!(decoder.end_of_stream(), Err(BodyFault::Truncated)));
    }
    let mut decoder = BodyDecoder::new(Framing::UntilEnd);
    assert!(matches!(decoder.end_of_stream(), Ok(Piece::End(None))));
    assert!(decoder.is_done());
}

/// The end of the stream may come before the caller asks for the piece that ends the body.
#[test]
fn an_end_right_behind_the_announced_length_is_no_fault() {
    let mut decoder = BodyDecoder::new(Framing::Length(1));
    let mut input = &b"a"[..];
    assert!(matches!(
        decoder.decode(&mut input),
        Ok(Some(Piece::Data(b"a")))
    ));
    assert!(matches!(decoder.end_of_stream(), Ok(Piece::End(None))));
    assert!(decoder.is_done());
}

#[test]
fn prefixes_are_hexadecimal() {
    for (length, expected) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (0xabcde, "abcde\r\n"),
    ] {
        let prefix = BodyEncoder::Chunked.prefix(length);
        assert_eq!(prefix.as_bytes(), expected.as_bytes());
    }
    let longest = BodyEncoder::Chunked.prefix(usize::MAX);
    assert_eq!(longest.as_bytes(), b"ffffffffffffffff\r\n");
    assert_eq!(BodyEncoder::Plain.prefix(5).as_bytes(), b"");
}

/// A chunk of size zero ends a body, and HTTP/2 has frames without data.
#[test]
fn no_part_is_the_last_chunk() {
    assert_eq!(BodyEncoder::Chunked.prefix(0).as_bytes(), b"");
}

/// Reads a body of this framing in parts. Returns the payload and what is left behind the body.
fn read(framing: Framing, parts: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
    let mut decoder = BodyDecoder::new(framing);
    let (mut payload, mut rest) = (Vec::new(), Vec::new());
    for &part in parts {
        let mut input = part;
        while let Some(piece) = decoder.decode(&mut input).unwrap() {
            if let Piece::Data(data) = piece {
                assert!(!data.is_empty());
                payload.extend_from_slice(data);
            }
        }
        rest.extend_from_slice(input);
    }
    assert!(decoder.is_done());
    (payload, rest)
}

proptest! {
    #[test]
    fn a_length_is_read_wherever_it_is_split(
        bytes in vec(any::<u8>(), 0..40),
        length in 0..40_usize,
        cuts in vec(any::<Index>(), 0..5),
    ) {
        let length = length.min(bytes.len());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let expected = (bytes[..length].to_vec(), bytes[length..].to_vec());
        prop_assert_eq!(read(Framing::Length(length as u64), &parts), expected);
    }

    #[test]
    fn a_prefix_is_the_size_that_a_reader_finds(length in 1..usize::MAX) {
        let prefix = BodyEncoder::Chunked.prefix(length);
        let read = httparse::parse_chunk_size(prefix.as_bytes());
        prop_assert_eq!(read, Ok(httparse::Status::Complete((prefix.as_bytes().len(), length as u64))));
    }
}
