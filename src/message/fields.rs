//! The fields of a head: one buffer of bytes and a table of where each name and value stands.

use crate::message::Kind;

/// A list of header fields in the order of their arrival, repeated ones included.
///
/// The bytes are in the form of HTTP/1.1 (`name: value\r\n`), so that a list which was built by
/// [`Fields::push`] can be sent as it is. Both buffers keep their capacity over [`Fields::clear`].
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    table: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: Kind,
    name: Span,
    value: Span,
}

/// Where a part of a buffer stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A span of a buffer that is bounded by the limits of heads, far below 4 GiB.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    /// From its start to the end of a later one.
    pub(super) fn to(self, later: Self) -> Self {
        Self {
            start: self.start,
            end: later.end,
        }
    }

    /// Its bytes in a buffer; empty if they are not there.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// One header field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// What it means to a proxy.
    pub kind: Kind,
    /// As it came. HTTP/1.1 names may be in any case.
    pub name: &'a [u8],
    /// Without the white space around it.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether it has this name. `name` is in lower case.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl Fields {
    /// Forgets all of it and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.table.clear();
    }

    /// Appends a field. Costs a copy of it.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_as(Kind::of(name), name, value);
    }

    /// Appends a field of a known kind.
    pub fn push_as(&mut self, kind: Kind, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        let value_start = start + name.len() + 2;
        self.table.push(Entry {
            kind,
            name: Span::new(start, start + name.len()),
            value: Span::new(value_start, self.bytes.len()),
        });
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends a field whose value is made of parts.
    pub fn push_parts(&mut self, kind: Kind, name: &[u8], parts: &[&[u8]]) {
        self.push_as(kind, name, b"");
        let Some(entry) = self.table.last_mut() else {
            return;
        };
        self.bytes.truncate(entry.value.start as usize);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        entry.value = Span::new(entry.value.start as usize, self.bytes.len());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// All fields.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + Clone {
        self.table.iter().map(|entry| Field {
            kind: entry.kind,
            name: entry.name.of(&self.bytes),
            value: entry.value.of(&self.bytes),
        })
    }

    /// The fields of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl DoubleEndedIterator<Item = Field<'_>> + Clone {
        self.iter().filter(move |field| field.kind == kind)
    }

    /// The first value of one kind.
    pub fn first(&self, kind: Kind) -> Option<&[u8]> {
        self.of_kind(kind).map(|field| field.value).next()
    }

    /// The first value under a name in lower case. Costs a comparison for each field.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let mut named = self.iter().filter(|field| field.is_named(name));
        named.next().map(|field| field.value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The bytes so far, start line included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends what is no field: a start line, or the empty line at the end.
    pub(super) fn push_raw(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span::new(start, self.bytes.len())
    }

    /// Notes a field that stands in the bytes already.
    pub(super) fn note(&mut self, name: Span, value: Span) {
        let kind = Kind::of(name.of(&self.bytes));
        self.table.push(Entry { kind, name, value });
    }
}

/// The span of a part of a buffer, from the addresses of both.
pub(super) fn span_in(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    Span::new(start, start.saturating_add(part.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_repetitions() {
        let mut fields = Fields::default();
        fields.push(b"Cookie", b"a=1");
        fields.push(b"x-other", b"\xff");
        fields.push(b"cookie", b"b=2");
        fields.push_parts(Kind::Other, b"x-parts", &[b"a", b"", b"bc"]);
        assert_eq!(
            fields.bytes(),
            b"Cookie: a=1\r\nx-other: \xff\r\ncookie: b=2\r\nx-parts: abc\r\n"
        );
        let cookies: Vec<_> = fields.of_kind(Kind::Cookie).map(|f| f.value).collect();
        assert_eq!(cookies, [b"a=1", b"b=2"]);
        assert_eq!(fields.value(b"x-parts"), Some(&b"abc"[..]));
        assert_eq!((fields.len(), fields.value(b"none")), (4, None));
    }
}
