//! How the head of an HTTP/1.1 message is read: into the worker's heads, by a parser that judges it.

use crate::{
    data::stream::{HeadRead, Turn},
    http1::HeadFault,
    message::{RequestHead, ResponseHead},
};

/// What a parser's answer means, having seen all bytes that are there; `None` for more to come.
pub(super) fn judge(
    parsed: Result<Option<usize>, HeadFault>,
    length: usize,
    bytes_max: usize,
) -> Option<HeadRead> {
    match parsed {
        Ok(Some(length)) if length > bytes_max => Some(HeadRead::TooLong),
        Ok(Some(_)) => Some(HeadRead::Complete),
        Ok(None) if length > bytes_max => Some(HeadRead::TooLong),
        Ok(None) => None,
        Err(fault) => Some(HeadRead::Refused(fault)),
    }
}

/// The heads of a worker that a parser fills.
pub(in crate::data) struct Heads<'a> {
    pub(in crate::data) request: &'a mut RequestHead,
    pub(in crate::data) response: &'a mut ResponseHead,
}

pub(super) fn split<'t>(turn: &'t mut Turn<'_, '_>) -> (&'t [u8], Heads<'t>) {
    let heads = Heads {
        request: &mut turn.scratch.request,
        response: &mut turn.scratch.response,
    };
    (&turn.scratch.bytes, heads)
}
