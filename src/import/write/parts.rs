//! Entries, lists and scalars from values.

use std::time::Duration;

use crate::import::{
    plan::duration_text,
    yaml::{Entry, Item, Node, Scalar},
};

pub(super) fn entry(key: &str, value: Node) -> Entry {
    Entry {
        key: word(key),
        value,
        line: None,
    }
}

pub(super) fn span(key: &'static str, duration: Option<Duration>) -> Option<Entry> {
    let duration = word(duration_text(duration?));
    Some(entry(key, Node::Scalar(duration)))
}

pub(super) fn list<T>(members: &[T], each: impl Fn(&T) -> (Vec<Entry>, usize)) -> Node {
    list_of(members, |member| {
        let (entries, line) = each(member);
        Item {
            value: Node::Map(entries),
            line: Some(line),
        }
    })
}

pub(super) fn list_of<T>(members: &[T], each: impl Fn(&T) -> Item) -> Node {
    Node::List(members.iter().map(each).collect())
}

pub(super) fn pairs(pairs: &[(String, String)]) -> Node {
    let pair = |(name, value): &(String, String)| Entry {
        key: text(name),
        value: Node::Scalar(text(value)),
        line: None,
    };
    Node::Map(pairs.iter().map(pair).collect())
}

pub(super) fn words(texts: &[String]) -> Node {
    Node::Words(texts.iter().map(|word| text(word)).collect())
}

/// An IPv4 address and a port is plain in every reader; brackets need quotes.
pub(super) fn addr(addr: &str) -> Scalar {
    match addr.starts_with('[') {
        true => text(addr),
        false => word(addr),
    }
}

pub(super) fn size_text(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        KIB.. if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => format!("{bytes}B"),
    }
}

pub(super) fn word(word: impl ToString) -> Scalar {
    Scalar::Word(word.to_string())
}

pub(super) fn text(text: &str) -> Scalar {
    Scalar::Text(text.to_owned())
}
