//! `${VARIABLE}` and `${VARIABLE:-default}` in the values of the file.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use crate::config::{
    diagnostic::Diagnostic,
    document::{Document, Node, Style},
    overrides::Environment,
};

/// What was found while variables were replaced.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    pub(super) faults: Vec<Diagnostic>,
    /// The variables that the file names.
    pub(super) named: BTreeSet<String>,
}

/// Replaces variables in all values, not in keys. `$${` is a plain `${`.
pub(super) fn expand(document: &mut Document, environment: &Environment) -> Expansion {
    let mut expansion = Expansion::default();
    let mut faults = Vec::new();
    let mut expand = |node: &mut Spanned<Node>| {
        let Node::Scalar(scalar) = &mut node.value else {
            return;
        };
        match replaced(&scalar.text, environment, &mut expansion.named) {
            Ok(None) => {}
            Ok(Some(text)) => {
                scalar.text = text;
                scalar.style = Style::Text;
            }
            Err(message) => {
                node.value = Node::Faulty;
                faults.push((node.referenced, message));
            }
        }
    };
    match &mut document.root.value {
        Node::Map(entries) => entries
            .iter_mut()
            .filter(|(name, _)| !is_extension(&name.value))
            .for_each(|(_, value)| expand_node(value, &mut expand)),
        Node::Null | Node::Faulty | Node::Scalar(_) | Node::List(_) => {
            expand_node(&mut document.root, &mut expand);
        }
    }
    let fault = |(location, message)| Diagnostic::error(document.place(location), message);
    expansion.faults = faults.into_iter().map(fault).collect();
    expansion
}

/// Whether a key of the outermost map is a place for YAML anchors, as in Compose files. What an alias
/// copies from there is read where the alias stands.
pub(super) fn is_extension(name: &str) -> bool {
    name.starts_with("x-")
}

fn expand_node(node: &mut Spanned<Node>, each: &mut impl FnMut(&mut Spanned<Node>)) {
    match &mut node.value {
        Node::Null | Node::Faulty => {}
        Node::Scalar(_) => each(node),
        Node::List(items) => items.iter_mut().for_each(|item| expand_node(item, each)),
        Node::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value)| expand_node(value, each)),
    }
}

/// The text with its variables replaced; `None` where it has none.
fn replaced(
    text: &str,
    environment: &Environment,
    named: &mut BTreeSet<String>,
) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = behind;
            continue;
        }
        result.push_str(before);
        let (inner, after) = behind
            .split_once('}')
            .ok_or_else(|| format!("{text:?} has a ${{ without its }}"))?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(format!("{text:?}: {name:?} is not the name of a variable"));
        }
        named.insert(name.to_owned());
        let value = environment.variable(name).or(default);
        let value = value.ok_or_else(|| {
            format!("the variable {name} is not set; set it, or write ${{{name}:-DEFAULT}}")
        })?;
        result.push_str(value);
        rest = after;
    }
    result.push_str(rest);
    Ok(Some(result))
}

fn is_name(text: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty()
        && text.bytes().all(is_byte)
        && !text.starts_with(|char: char| char.is_ascii_digit())
}
