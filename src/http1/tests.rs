//! Whole messages: what is written is read back, however the bytes arrive.

use http::Version;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use crate::{
    http1::{BodyDecoder, BodyEncoder, BodyFault, Piece, parse_request, write_trailers},
    message::{Fields, Framing, RequestHead, request_framing},
};

/// A request as an application sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Message {
    target: String,
    payload: Vec<u8>,
    /// Names and values.
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Writes a request whose body comes in these parts. Trailers need chunks.
fn write(out: &mut Vec<u8>, target: &str, parts: &[Vec<u8>], trailers: Option<&Fields>) {
    let length = parts.concat().len();
    let (encoder, name, value) = match (trailers, length) {
        (Some(_), _) => (
            BodyEncoder::Chunked,
            "transfer-encoding",
            "chunked".to_owned(),
        ),
        (None, 0) => (BodyEncoder::Plain, "x-no-body", String::new()),
        (None, length) => (BodyEncoder::Plain, "content-length", length.to_string()),
    };
    let mut head = RequestHead::default();
    head.begin(b"POST", target.as_bytes(), Version::HTTP_11);
    head.fields_mut().push(b"host", b"h");
    head.fields_mut().push(name.as_bytes(), value.as_bytes());
    head.finish();
    out.extend_from_slice(head.as_http1());
    for part in parts {
        out.extend_from_slice(encoder.prefix(part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(encoder.suffix());
    }
    if let Some(trailers) = trailers {
        write_trailers(out, trailers.iter());
    }
}

/// Reads requests off a connection.
#[derive(Default)]
struct Reader {
    unread: Vec<u8>,
    head: RequestHead,
    body: Option<BodyDecoder>,
    message: Message,
    complete: Vec<Message>,
}

impl Reader {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        self.unread.extend_from_slice(bytes);
        while !self.unread.is_empty() {
            let Some(body) = &mut self.body else {
                let Some(length) = parse_request(&self.unread, &mut self.head).unwrap() else {
                    break;
                };
                self.unread.drain(..length);
                self.message.target = self.head.target().to_owned();
                self.begin_body();
                continue;
            };
            let mut input = &self.unread[..];
            while let Some(piece) = body.decode(&mut input)? {
                self.message.take(piece);
            }
            self.unread = input.to_vec();
            if body.is_done() {
                self.end_body();
            }
        }
        Ok(())
    }

    fn begin_body(&mut self) {
        let framing = request_framing(&self.head).unwrap();
        self.body = Some(BodyDecoder::new(framing));
        if framing == Framing::Empty {
            self.end_body();
        }
    }

    fn end_body(&mut self) {
        self.body = None;
        self.complete.push(std::mem::take(&mut self.message));
    }
}

impl Message {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Data(data) => self.payload.extend_from_slice(data),
            Piece::End(trailers) => {
                for field in trailers.iter().flat_map(|trailers| trailers.iter()) {
                    self.trailers
                        .push((field.name.to_vec(), field.value.to_vec()));
                }
            }
        }
    }
}

/// A message, and the parts of its body.
fn message() -> impl Strategy<Value = (Message, Vec<Vec<u8>>, bool)> {
    const SMUGGLED: &[u8] = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n";
    let part = prop_oneof![vec(any::<u8>(), 1..20), Just(SMUGGLED.to_vec())];
    let value = prop_oneof![
        select(&["", "\u{e9}", "a b"][..]).prop_map(|text| text.as_bytes().to_vec()),
        vec(0x21..0x7f_u8, 1..9),
    ];
    let name = "[a-z][a-z-]{0,5}".prop_map(String::into_bytes);
    let trailers = vec((name, value), 0..3);
    ("/[a-z]{0,4}", vec(part, 0..4), trailers, any::<bool>()).prop_map(
        |(target, parts, trailers, is_chunked)| {
            let message = Message {
                target,
                payload: parts.concat(),
                trailers: trailers.into_iter().filter(|_| is_chunked).collect(),
            };
            (message, parts, is_chunked)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_arrives(
        messages in vec(message(), 1..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (message, parts, is_chunked) in &messages {
            let mut trailers = Fields::default();
            for (name, value) in &message.trailers {
                trailers.push(name, value);
            }
            write(&mut bytes, &message.target, parts, is_chunked.then_some(&trailers));
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut reader = Reader::default();
        for pair in cuts.windows(2) {
            reader.feed(&bytes[pair[0]..pair[1]]).unwrap();
        }
        let sent: Vec<Message> = messages.into_iter().map(|(message, ..)| message).collect();
        prop_assert_eq!(reader.complete, sent);
        prop_assert!(reader.unread.is_empty() && reader.body.is_none());
    }
}
