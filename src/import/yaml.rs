//! Writes YAML: maps, lists and scalars with the right quotes, and the source's line as a comment.

/// A part of the file.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    Map(Vec<Entry>),
    List(Vec<Item>),
    /// A short map of scalars, on one line.
    Flow(Vec<(&'static str, Scalar)>),
    /// A short list of scalars, on one line.
    Words(Vec<Scalar>),
}

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Scalar {
    /// A number, a duration or a word of Weir's, which needs no quotes.
    Word(String),
    /// Anything, quoted where a reader could take it for something else.
    Text(String),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Scalar,
    pub(super) value: Node,
    /// The source's line that it comes from.
    pub(super) line: Option<usize>,
}

/// A member of a list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: Node,
    pub(super) line: Option<usize>,
}

/// Renders the entries of a whole file, with an empty line between them.
pub(super) fn render(entries: &[Entry], source: &str) -> String {
    let mut writer = Writer {
        text: String::new(),
        source,
    };
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            writer.text.push('\n');
        }
        writer.entry(entry, 0);
    }
    writer.text
}

struct Writer<'a> {
    text: String,
    source: &'a str,
}

impl Writer<'_> {
    fn entry(&mut self, entry: &Entry, indent: usize) {
        self.text.push_str(&entry.key.block());
        self.text.push(':');
        self.value(&entry.value, indent + INDENT, entry.line);
    }

    /// What follows a key, on its line or on the next ones.
    fn value(&mut self, value: &Node, indent: usize, line: Option<usize>) {
        match value {
            Node::Scalar(_) | Node::Flow(_) | Node::Words(_) => {
                self.text.push(' ');
                self.inline(value, line);
            }
            Node::Map(entries) => {
                self.end_line(line);
                for entry in entries {
                    self.indent(indent);
                    self.entry(entry, indent);
                }
            }
            Node::List(items) => {
                self.end_line(line);
                for item in items {
                    self.indent(indent);
                    self.text.push_str("- ");
                    self.item(item, indent + INDENT);
                }
            }
        }
    }

    fn item(&mut self, item: &Item, indent: usize) {
        let Node::Map(entries) = &item.value else {
            return self.inline(&item.value, item.line);
        };
        for (index, entry) in entries.iter().enumerate() {
            let mut entry = entry.clone();
            if index == 0 {
                entry.line = item.line;
            } else {
                self.indent(indent);
            }
            self.entry(&entry, indent);
        }
    }

    /// A value that fits on the line.
    fn inline(&mut self, value: &Node, line: Option<usize>) {
        let text = match value {
            Node::Scalar(scalar) => scalar.block(),
            Node::Flow(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", value.flow()))
                    .collect();
                format!("{{ {} }}", pairs.join(", "))
            }
            Node::Words(words) => {
                let words: Vec<String> = words.iter().map(Scalar::flow).collect();
                format!("[{}]", words.join(", "))
            }
            // Only callers with nothing to write come here with one of these.
            Node::Map(_) | Node::List(_) => String::new(),
        };
        self.text.push_str(&text);
        self.end_line(line);
    }

    fn end_line(&mut self, line: Option<usize>) {
        if let Some(line) = line {
            let comment = format!("  # {}:{line}", self.source);
            self.text.push_str(&comment);
        }
        self.text.push('\n');
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

impl Scalar {
    fn block(&self) -> String {
        self.written(|char| char.is_ascii_alphanumeric() || "_./:@%+-".contains(char))
    }

    /// Inside `[…]` and `{…}`, where a colon may end a key.
    fn flow(&self) -> String {
        self.written(|char| char.is_ascii_alphanumeric() || "_./-".contains(char))
    }

    fn written(&self, is_plain_char: impl Fn(char) -> bool) -> String {
        let text = match self {
            Self::Word(word) => return word.clone(),
            Self::Text(text) => text,
        };
        let begins_plainly =
            text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '/');
        let is_plain = begins_plainly
            && !text.ends_with(':')
            && text.chars().all(is_plain_char)
            && !is_word_of_yaml(text);
        match is_plain {
            true => text.clone(),
            false => quoted(text),
        }
    }
}

/// Whether a reader of some version of YAML takes the text for no text.
fn is_word_of_yaml(text: &str) -> bool {
    let words = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", "none",
    ];
    words.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    // `${` would be a variable.
    for char in text.replace("${", "$${").chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            // Control characters, and what some readers take for an end of a line or leave out.
            '\r' => quoted.push_str("\\r"),
            '\n' => quoted.push_str("\\n"),
            _ if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

const INDENT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Scalar::Text(text.to_owned()).block(), expected);
    }

    #[test]
    fn quotes_stand_where_yaml_would_read_something_else() {
        check("app", "app");
        check("http://10.0.0.1:80", "http://10.0.0.1:80");
        check("/api", "/api");
        check("off", "\"off\"");
        check("12", "\"12\"");
        check("1:30", "\"1:30\"");
        check("", "\"\"");
        check("a: b", "\"a: b\"");
        check("a #b", "\"a #b\"");
        check("-a", "\"-a\"");
        check("[::]:80", "\"[::]:80\"");
        check("a\"\\\n\u{1}", "\"a\\\"\\\\\\n\\u0001\"");
        check("${HOME}", "\"$${HOME}\"");
    }
}
