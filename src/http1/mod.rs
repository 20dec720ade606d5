//! HTTP/1.1 as a codec without I/O (RFC 9112). Pure.
//!
//! `httparse` reads the tokens of heads; what decides is here: where a body ends, what a chunk may
//! look like, which heads are refused. Called by `data::stream`.

mod body;
mod chunked;
mod head;

pub use body::{BodyDecoder, BodyEncoder, ChunkPrefix, Piece};
pub use chunked::{BodyFault, ChunkedDecoder, EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX};
pub use head::{FIELDS_MAX, HeadFault, parse_request, parse_response, write_trailers};

#[cfg(test)]
mod tests;
