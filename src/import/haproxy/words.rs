//! A line of `haproxy.cfg` as words: spaces, quotes, escapes and comments.

use crate::import::syntax::Fault;

/// A line that is not empty.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    /// Whether it begins with white space.
    pub(super) is_indented: bool,
    /// Never empty.
    pub(super) words: Vec<String>,
}

impl Line {
    /// A word by its place; empty where there is none.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The words from a place on.
    pub(super) fn rest(&self, index: usize) -> &[String] {
        self.words.get(index..).unwrap_or_default()
    }

    /// The first words, to name the directive by.
    pub(super) fn head(&self, count: usize) -> String {
        let head = self.words.get(..count).unwrap_or(&self.words);
        head.join(" ")
    }

    /// The whole directive.
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Splits a line; `None` for one without words.
///
/// # Errors
///
/// A quote without its end.
pub(super) fn split(number: usize, text: &str) -> Result<Option<Line>, Fault> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(end), _) if char == end => quote = None,
            // In strong quotes nothing is special.
            (Some('\''), _) => word.get_or_insert_default().push(char),
            (_, '\\') => word.get_or_insert_default().push(escaped(&mut chars)),
            (Some(_), _) => word.get_or_insert_default().push(char),
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, '#') => break,
            (None, _) if char.is_ascii_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(char),
        }
    }
    if let Some(quote) = quote {
        return Err(Fault::new(number, format!("a quote {quote} has no end")));
    }
    words.extend(word);
    let is_indented = text.starts_with([' ', '\t']);
    Ok((!words.is_empty()).then_some(Line {
        number,
        is_indented,
        words,
    }))
}

fn escaped(chars: &mut std::str::Chars<'_>) -> char {
    match chars.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('x') => {
            let digits = chars.as_str().get(..2);
            let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match code {
                Some(code) => {
                    let _digits = (chars.next(), chars.next());
                    char::from(code)
                }
                None => 'x',
            }
        }
        Some(char) => char,
        // A line that ends so is one word longer.
        None => '\\',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let line = split(1, text).unwrap();
        assert_eq!(line.map_or(Vec::new(), |line| line.words), expected);
    }

    #[test]
    fn words_are_what_haproxy_reads() {
        check(
            "  server a 10.0.0.1:80 # why",
            &["server", "a", "10.0.0.1:80"],
        );
        check(r#"a "b c" d'e f'g"#, &["a", "b c", "de fg"]);
        check(
            r"HTTP/1.1\r\nHost:\ www \#x",
            &["HTTP/1.1\r\nHost: www", "#x"],
        );
        check(r#""a \" b" '\n' \x41\x4"#, &["a \" b", "\\n", "Ax4"]);
        check("a \"\" b", &["a", "", "b"]);
        check("# only", &[]);
        assert!(split(7, "a \"b").is_err());
    }
}
