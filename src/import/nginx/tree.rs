//! The text of `nginx.conf` as a tree of directives with their lines.

use std::{iter::Peekable, str::Chars};

use crate::import::syntax::Fault;

/// A directive: `name argument…;` or `name argument… { … }`.
#[derive(Debug)]
pub(super) struct Directive {
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// What is between its braces.
    pub(super) block: Option<Vec<Self>>,
}

impl Directive {
    /// An argument by its place; empty where there is none.
    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// The directives of its block.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Its name and arguments.
    pub(super) fn text(&self) -> String {
        let mut text = self.name.clone();
        for argument in &self.arguments {
            text.push(' ');
            text.push_str(if argument.is_empty() {
                "\"\""
            } else {
                argument
            });
        }
        text
    }

    /// Its name and first argument.
    pub(super) fn head(&self) -> String {
        format!("{} {}", self.name, self.argument(0))
            .trim_end()
            .to_owned()
    }
}

/// Parses a text.
///
/// # Errors
///
/// A quote or block without its end, or an end without its block.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, Fault> {
    let mut tokens = Tokens {
        chars: text.chars().peekable(),
        line: 1,
    };
    // The blocks that are open, each with what it holds so far; outermost first.
    let mut open: Vec<Directive> = Vec::new();
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut line = 1;
    while let Some(token) = tokens.next()? {
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    line = tokens.line;
                }
                words.push(word);
            }
            Token::Semicolon => {
                let directive = directive(line, &mut words, None)
                    .ok_or_else(|| Fault::new(tokens.line, "a ; ends no directive"))?;
                siblings(&mut open, &mut found).push(directive);
            }
            Token::Open => {
                let directive = directive(line, &mut words, Some(Vec::new())).ok_or_else(|| {
                    Fault::new(tokens.line, "a { begins the block of no directive")
                })?;
                if open.len() == DEPTH_MAX {
                    return Err(Fault::new(tokens.line, "blocks are nested too deeply"));
                }
                open.push(directive);
            }
            Token::Close => {
                if let Some(word) = words.first() {
                    return Err(Fault::new(line, format!("{word:?} has no ; at its end")));
                }
                let closed = open
                    .pop()
                    .ok_or_else(|| Fault::new(tokens.line, "a } ends no block"))?;
                siblings(&mut open, &mut found).push(closed);
            }
        }
    }
    if let Some(word) = words.first() {
        return Err(Fault::new(line, format!("{word:?} has no ; at its end")));
    }
    match open.last() {
        Some(block) => Err(Fault::new(
            block.line,
            format!("the block of {:?} has no }} at its end", block.name),
        )),
        None => Ok(found),
    }
}

/// The directives beside the next one.
fn siblings<'a>(
    open: &'a mut [Directive],
    outermost: &'a mut Vec<Directive>,
) -> &'a mut Vec<Directive> {
    match open.last_mut() {
        Some(block) => block.block.get_or_insert_default(),
        None => outermost,
    }
}

fn directive(
    line: usize,
    words: &mut Vec<String>,
    block: Option<Vec<Directive>>,
) -> Option<Directive> {
    let mut words = std::mem::take(words).into_iter();
    Some(Directive {
        line,
        name: words.next()?,
        arguments: words.collect(),
        block,
    })
}

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
}

struct Tokens<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, Fault> {
        loop {
            let Some(char) = self.take() else {
                return Ok(None);
            };
            return Ok(Some(match char {
                _ if char.is_ascii_whitespace() => continue,
                '#' => {
                    while self.chars.peek().is_some_and(|char| *char != '\n') {
                        let _comment = self.take();
                    }
                    continue;
                }
                ';' => Token::Semicolon,
                '{' => Token::Open,
                '}' => Token::Close,
                '"' | '\'' => self.quoted(char)?,
                _ => self.bare(char),
            }));
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Fault> {
        let begin = self.line;
        let mut word = String::new();
        loop {
            match self.take() {
                Some(char) if char == quote => return Ok(Token::Word(word)),
                Some('\\') => self.escape(&mut word),
                Some(char) => word.push(char),
                None => return Err(Fault::new(begin, format!("a quote {quote} has no end"))),
            }
        }
    }

    fn bare(&mut self, first: char) -> Token {
        let mut word = String::new();
        let mut char = first;
        loop {
            match char {
                '\\' => self.escape(&mut word),
                _ => word.push(char),
            }
            let Some(&next) = self.chars.peek() else {
                break;
            };
            // The brace of `${name}` belongs to the word.
            let is_variable = next == '{' && char == '$';
            if next.is_ascii_whitespace() || next == ';' || next == '{' && !is_variable {
                break;
            }
            char = next;
            let _taken = self.take();
        }
        Token::Word(word)
    }

    /// What follows a backslash. A backslash before anything but these stays, as in expressions.
    fn escape(&mut self, word: &mut String) {
        match self.chars.peek() {
            Some('"' | '\'' | '\\') => {}
            Some('t') => return self.replace(word, '\t'),
            Some('r') => return self.replace(word, '\r'),
            Some('n') => return self.replace(word, '\n'),
            Some(_) | None => word.push('\\'),
        }
        word.extend(self.take());
    }

    fn replace(&mut self, word: &mut String, by: char) {
        let _letter = self.take();
        word.push(by);
    }

    fn take(&mut self) -> Option<char> {
        let char = self.chars.next();
        if char == Some('\n') {
            self.line += 1;
        }
        char
    }
}

/// nginx's own blocks are at most six deep.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_have_lines_and_blocks() {
        let text = "# one\nuser nginx;\nhttp {\n  log_format a '$x \"y\"'\n    \"b\\\"c\"; # why\n  server { listen 80; }\n}\n";
        let tree = parse(text).unwrap();
        let texts: Vec<(usize, String)> = tree
            .iter()
            .map(|found| (found.line, found.text()))
            .collect();
        assert_eq!(
            texts,
            [(2, "user nginx".to_owned()), (3, "http".to_owned())]
        );
        let http = tree[1].children();
        assert_eq!(http[0].arguments, ["a", "$x \"y\"", "b\"c"]);
        assert_eq!((http[1].line, http[1].children()[0].argument(0)), (6, "80"));
    }

    #[test]
    fn braces_of_variables_belong_to_words() {
        let tree = parse("a ${b}c; location ~ \\.php$ { d \"\"; }").unwrap();
        assert_eq!(tree[0].argument(0), "${b}c");
        assert_eq!(tree[1].arguments, ["~", "\\.php$"]);
        assert_eq!(tree[1].children()[0].arguments, [""]);
    }

    #[track_caller]
    fn check(text: &str, line: usize, message: &str) {
        let fault = parse(text).unwrap_err();
        assert_eq!((fault.line, fault.message.as_str()), (line, message));
    }

    #[test]
    fn faults_have_lines() {
        check("a;\nb \"c;\n", 2, "a quote \" has no end");
        check(
            "http {\n  server {\n",
            2,
            "the block of \"server\" has no } at its end",
        );
        check("a;\n}\n", 2, "a } ends no block");
        check("a b\n", 1, "\"a\" has no ; at its end");
        check("x {\n a\n}", 2, "\"a\" has no ; at its end");
        check(";", 1, "a ; ends no directive");
        check("{}", 1, "a { begins the block of no directive");
        check(&"a {".repeat(100_000), 1, "blocks are nested too deeply");
    }
}
