//! A chunked body that is accepted has one reading, before and after it is coded anew.

use weir::{
    http1::{BodyDecoder, BodyEncoder, BodyFault, FIELDS_MAX, Piece, write_trailers},
    message::{Fields, Framing},
};

/// Checks that a body is read alike in one piece and in parts, and one that is accepted also by a
/// simple reader, and once it was coded anew. Returns whether it was accepted.
///
/// # Panics
///
/// If there is a second reading.
pub fn body_has_one_reading(bytes: &[u8]) -> bool {
    let whole = read([bytes]);
    assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(read(bytes.chunks(7)), whole, "in parts");
    let Ok(body) = whole else {
        return false;
    };
    let (payload, length) = read_simply(bytes, &body.trailers);
    assert_eq!(payload, body.payload.concat());
    assert_eq!(bytes.len() - length, body.rest_bytes);

    let coded = code(&body);
    let again = read([&coded[..]]).expect("what was written is a body");
    assert_eq!(again.payload.concat(), body.payload.concat());
    assert_eq!((again.trailers, again.rest_bytes), (body.trailers, 0));
    true
}

/// A body, as read.
#[derive(Debug, Default)]
struct Body {
    payload: Vec<Vec<u8>>,
    /// Names and values.
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many bytes are behind it.
    rest_bytes: usize,
}

/// Two bodies are equal however their payload came in pieces.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.payload.concat() == other.payload.concat()
            && (&self.trailers, self.rest_bytes) == (&other.trailers, other.rest_bytes)
    }
}

fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Body, BodyFault> {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let mut body = Body::default();
    for mut part in parts {
        while let Some(piece) = decoder.decode(&mut part)? {
            match piece {
                Piece::Data(data) => {
                    assert!(!data.is_empty(), "a piece without data");
                    body.payload.push(data.to_vec());
                }
                Piece::End(trailers) => {
                    let fields = trailers.iter().flat_map(|trailers| trailers.iter());
                    let pairs = fields.map(|field| (field.name.to_vec(), field.value.to_vec()));
                    body.trailers = pairs.collect();
                }
            }
        }
        assert!(
            part.is_empty() || decoder.is_done(),
            "it waits and leaves bytes"
        );
        body.rest_bytes += part.len();
    }
    match decoder.is_done() {
        true => Ok(body),
        false => Err(BodyFault::Truncated),
    }
}

/// Reads a body that is well-formed: lines end at the next CR LF, and an extension is whatever
/// follows a size. Returns the payload and the body's length.
fn read_simply(bytes: &[u8], trailers: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, usize) {
    let mut payload = Vec::new();
    let mut at = 0;
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&bytes[at..])
        else {
            panic!("no size at {at}");
        };
        at += line;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).expect("a chunk that was read");
        payload.extend_from_slice(&bytes[at..at + size]);
        at += size;
        assert_eq!(bytes[at..at + 2], *b"\r\n");
        at += 2;
    }
    let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let Ok(httparse::Status::Complete((length, fields))) =
        httparse::parse_headers(&bytes[at..], &mut table)
    else {
        panic!("no trailers at {at}");
    };
    let fields = fields
        .iter()
        .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()));
    assert_eq!(fields.collect::<Vec<_>>(), trailers);
    (payload, at + length)
}

fn code(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    for data in &body.payload {
        bytes.extend_from_slice(BodyEncoder::Chunked.prefix(data.len()).as_bytes());
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(BodyEncoder::Chunked.suffix());
    }
    let mut trailers = Fields::default();
    for (name, value) in &body.trailers {
        trailers.push(name, value);
    }
    write_trailers(&mut bytes, trailers.iter());
    bytes
}
