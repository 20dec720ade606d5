//! HTTP/2 by hand: the frames that the `h2` crate refuses to send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection without any idea of what is allowed.
pub struct RawHttp2 {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    unread: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What a stream came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Status(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
    /// Nothing for some time.
    Silence,
}

impl RawHttp2 {
    /// Connects, with these settings besides the defaults.
    pub async fn connect(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        let mut connection = Self {
            reader,
            writer,
            unread: Vec::new(),
        };
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        connection
            .send(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat())
            .await;
        connection
    }

    /// Sends frames; whether they can still arrive.
    pub async fn send(&mut self, frames: &[u8]) -> bool {
        matches!(
            timeout(PATIENCE, self.writer.write_all(frames)).await,
            Ok(Ok(()))
        )
    }

    /// Sends a whole request head, in as many frames as it takes.
    pub async fn send_head(&mut self, stream: u32, fields: &[(&str, &str)]) -> bool {
        let block = block(fields);
        let mut parts = block.chunks(16 * 1024).peekable();
        let (mut kind, mut flags) = (HEADERS, END_STREAM);
        let mut frames = Vec::new();
        while let Some(part) = parts.next() {
            flags |= if parts.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            frames.extend(frame(kind, flags, stream, part));
            (kind, flags) = (CONTINUATION, 0);
        }
        self.send(&frames).await
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, length)) = first_frame(&self.unread) {
                self.unread.drain(..length);
                return Some(frame);
            }
            let mut buffer = vec![0; 64 * 1024];
            let read = self.reader.read(&mut buffer).await.ok()?;
            if read == 0 {
                return None;
            }
            self.unread.extend_from_slice(&buffer[..read]);
        }
    }

    /// What becomes of a stream; acknowledges what asks for it.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let frame = match timeout(PATIENCE, self.frame()).await {
                Err(_elapsed) => return Outcome::Silence,
                Ok(None) => return Outcome::Closed,
                Ok(Some(frame)) => frame,
            };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(&self::frame(SETTINGS, ACK, 0, &[])).await;
                }
                HEADERS if frame.stream == stream => {
                    return Outcome::Status(status(&frame.payload));
                }
                RST_STREAM if frame.stream == stream => {
                    return Outcome::Reset(number(&frame.payload));
                }
                GOAWAY => return Outcome::GoAway(number(&frame.payload[4..])),
                _ => {}
            }
        }
    }

    /// Reads to the end of the connection; the code of the GOAWAY, if there was one.
    pub async fn goaway(mut self) -> Option<u32> {
        let mut code = None;
        let reading = async {
            while let Some(frame) = self.frame().await {
                if frame.kind == GOAWAY {
                    code = Some(number(&frame.payload[4..]));
                }
            }
        };
        timeout(4 * PATIENCE, reading).await.expect("never closed");
        code
    }
}

/// The frames in these bytes that are whole, behind a client's preface if there is one.
pub fn frames(bytes: &[u8]) -> Vec<RawFrame> {
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    let mut frames = Vec::new();
    while let Some((frame, length)) = first_frame(rest) {
        frames.push(frame);
        rest = &rest[length..];
    }
    frames
}

/// The first frame in these bytes, and how many of them it has.
fn first_frame(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let (head, rest) = bytes.split_at_checked(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let frame = RawFrame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
        payload: rest.get(..length)?.to_vec(),
    };
    Some((frame, 9 + length))
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals without Huffman coding and without the dynamic table.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |text: &str| [&integer(text.len()), text.as_bytes()].concat();
    let field = |(name, value): &(&str, &str)| [vec![0], literal(name), literal(value)].concat();
    fields.iter().flat_map(field).collect()
}

/// A HEADERS frame with a whole block.
pub fn headers(stream: u32, end_stream: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let flags = END_HEADERS | if end_stream { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block(fields))
}

pub fn data(stream: u32, end_stream: bool, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, if end_stream { END_STREAM } else { 0 }, stream, bytes)
}

/// A whole response: `:status 200`, by its index.
pub fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])
}

/// The pseudo-headers of a plain request.
pub const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "web.example"),
    (":path", "/"),
];
pub const POST: [(&str, &str); 4] = [(":method", "POST"), GET[1], GET[2], GET[3]];

/// An integer behind a prefix of seven bits (RFC 7541 section 5.1).
fn integer(value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![127];
    let mut rest = value - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// The `:status` that a response's block begins with.
fn status(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // The encoder may first say how large its table is.
    let updates = block.iter().take_while(|&&byte| byte >> 5 == 1).count();
    match block[updates..] {
        [index @ 0x88..=0x8e, ..] => STATIC[usize::from(index - 0x88)],
        [0x08 | 0x18 | 0x48, 3, a, b, c, ..] => [a, b, c]
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0')),
        [0x08 | 0x18 | 0x48, length, ref coded @ ..] if length > 128 => {
            huffman_digits(&coded[..usize::from(length - 128)])
        }
        ref other => panic!("no :status in {other:?}"),
    }
}

/// Three digits: `0` to `2` have codes of five bits, the others of six (RFC 7541 appendix B).
fn huffman_digits(coded: &[u8]) -> u16 {
    let bits = coded
        .iter()
        .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
    let mut left = 8 * coded.len();
    let mut code = 0;
    for _ in 0..3 {
        let five = bits >> (left - 5) & 31;
        if five < 3 {
            code = code * 10 + five;
            left -= 5;
        } else {
            code = code * 10 + (bits >> (left - 6) & 63) - 22;
            left -= 6;
        }
    }
    u16::try_from(code).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(5);
