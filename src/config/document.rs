//! The YAML file as a tree of texts, each with its place.
//!
//! A tree rather than derived structs, because a derived reader stops at its first fault and an
//! operator wants to see them all. The only `Deserialize` of the file stands here.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::Path,
    sync::Arc,
};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Options, Spanned, UserMessageFormatter};

use crate::config::diagnostic::{ConfigErrors, Diagnostic, Place, SourceFile};

/// A read configuration file; empty without one.
#[derive(Debug)]
pub(super) struct Document {
    source: Arc<SourceFile>,
    pub(super) root: Spanned<Node>,
}

/// One value of the file.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nothing, or `~`.
    Null,
    /// Something that is reported already, so that nothing more is said of it.
    Faulty,
    Scalar(Scalar),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

/// Text, number or boolean, as it is written.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) style: Style,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    Text,
    Number,
    Boolean,
}
/// Reads the file; `None` gives an empty document.
pub(super) fn read(path: Option<&Path>) -> Result<Document, ConfigErrors> {
    let Some(path) = path else {
        return Ok(Document::empty());
    };
    let unreadable = |reason: String| {
        Diagnostic::nowhere(format!(
            "cannot read configuration file {}: {reason}",
            path.display()
        ))
    };
    let text = read_text(path).map_err(|error| unreadable(error.to_string()))?;
    if text.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {FILE_BYTES_MAX} bytes")).into());
    }
    if text.trim().is_empty() {
        // A disk that is full leaves such files, and to a reload it would say: serve nothing.
        return Err(unreadable("it is empty".to_owned()).into());
    }
    parse(SourceFile {
        path: path.to_owned(),
        text,
    })
}

/// Reads a file, or standard input where the path is `-`: one byte more than is allowed at most.
fn read_text(path: &Path) -> io::Result<String> {
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    let mut bytes = Vec::new();
    input
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    // One that is too long may be cut within a character.
    match bytes.len() > FILE_BYTES_MAX {
        true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        false => String::from_utf8(bytes).map_err(io::Error::other),
    }
}

/// Reads the text of a file.
pub(super) fn parse(source: SourceFile) -> Result<Document, ConfigErrors> {
    let source = Arc::new(source);
    let mut options = Options::default();
    options.with_snippet = false;
    // `off` and `yes` stay what was written, for those to read who want a boolean.
    options.strict_booleans = true;
    // Found later, so that the file's other faults are shown, too.
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    let root = serde_saphyr::from_str_with_options::<Option<Spanned<Node>>>(&source.text, options);
    match root {
        Ok(Some(mut root)) => {
            restore(&mut root, &source);
            Ok(Document { source, root })
        }
        Ok(None) => Ok(Document {
            source,
            ..Document::empty()
        }),
        Err(error) => {
            let place = place_of(&source, error.location());
            let message = error
                .without_snippet()
                .render_with_formatter(&UserMessageFormatter);
            // The place is shown by the diagnostic itself.
            let message = message
                .split(" at line ")
                .next()
                .unwrap_or(&message)
                .to_owned();
            Err(Diagnostic::error(place, message).into())
        }
    }
}

impl Document {
    /// A document without a file.
    pub(super) fn empty() -> Self {
        let source = SourceFile {
            path: "(none)".into(),
            text: String::new(),
        };
        Self {
            source: Arc::new(source),
            root: Spanned::new(Node::Null, Location::UNKNOWN, Location::UNKNOWN),
        }
    }

    /// The place of something read from this document.
    pub(super) fn place(&self, location: Location) -> Place {
        place_of(&self.source, Some(location))
    }
}

/// Gives numbers and booleans the text that was written: a version `1.10` is not `1.1`, and
/// whether `0123` is a number is not for the YAML library to decide.
fn restore(node: &mut Spanned<Node>, source: &Arc<SourceFile>) {
    let defined = node.defined;
    match &mut node.value {
        Node::Scalar(scalar) if scalar.style != Style::Text => {
            if let Place::File { bytes, .. } = place_of(source, Some(defined)) {
                scalar.text = source.text.get(bytes).unwrap_or_default().to_owned();
            }
        }
        Node::Scalar(_) | Node::Null | Node::Faulty => {}
        Node::List(items) => items.iter_mut().for_each(|item| restore(item, source)),
        Node::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value)| restore(value, source)),
    }
}

fn place_of(source: &Arc<SourceFile>, location: Option<Location>) -> Place {
    let location = location.unwrap_or(Location::UNKNOWN);
    let span = location.span();
    let offset = |bytes: Option<u64>| usize::try_from(bytes?).ok();
    let known = offset(span.byte_offset()).zip(offset(span.byte_len()));
    let bytes = match known {
        Some((from, bytes)) if from + bytes <= source.text.len() => from..from + bytes,
        Some(_) | None => by_line_and_column(&source.text, location),
    };
    Place::File {
        source: Arc::clone(source),
        bytes,
    }
}

/// Finds a location by its line and column: the parser knows these for every value and every
/// syntax fault, byte offsets only for some.
fn by_line_and_column(text: &str, location: Location) -> Range<usize> {
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let line_start = text
        .split_inclusive('\n')
        .take(index(location.line()))
        .map(str::len)
        .sum();
    let offset_of = |from: usize, chars: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.char_indices()
            .nth(chars)
            .map_or(text.len(), |(offset, _)| from + offset)
    };
    let from = offset_of(line_start, index(location.column()));
    let chars = usize::try_from(location.span().len()).unwrap_or(1);
    from..offset_of(from, chars)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl Node {
    /// A scalar whose text [`restore`] gives back.
    fn unread(style: Style) -> Self {
        Self::Scalar(Scalar {
            text: String::new(),
            style,
        })
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Node, E> {
        Ok(Node::unread(Style::Boolean))
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Node, E> {
        Ok(Node::unread(Style::Number))
    }

    fn visit_u64<E>(self, _value: u64) -> Result<Node, E> {
        Ok(Node::unread(Style::Number))
    }

    fn visit_i128<E>(self, _value: i128) -> Result<Node, E> {
        Ok(Node::unread(Style::Number))
    }

    fn visit_u128<E>(self, _value: u128) -> Result<Node, E> {
        Ok(Node::unread(Style::Number))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Node, E> {
        Ok(Node::unread(Style::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar {
            text: value.to_owned(),
            style: Style::Text,
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// No configuration comes near this; a mistaken path to something huge does.
const FILE_BYTES_MAX: usize = 1024 * 1024;
