//! Makes bytes from outside harmless: whatever a client sends, it cannot end a line or a field.

use std::fmt;

/// Appends with all but printable ASCII written as nginx does it, `\x0A`; quotes and backslashes,
/// too.
pub(super) fn push_hex_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    push_hex_unless(out, bytes, is_plain);
}

/// As [`push_hex_escaped`], for a field that stands without quotes: spaces are escaped, too.
pub(super) fn push_word(out: &mut Vec<u8>, bytes: &[u8]) {
    push_hex_unless(out, bytes, |byte| is_plain(byte) & (byte != b' '));
}

/// Appends what stands between the quotes of a JSON string. What is not UTF-8 becomes `\ufffd`.
/// Escaped are also DEL, the C1 controls and the separators U+2028 and U+2029, since some readers
/// end a line there.
pub(super) fn push_json_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if are_all(bytes, is_plain) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            push_json_char(out, char);
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Lets a value write its own text through an escape.
pub(super) struct Escaping<'a> {
    /// Where to.
    pub(super) out: &'a mut Vec<u8>,
    /// Which escape.
    pub(super) push: fn(&mut Vec<u8>, &[u8]),
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.push)(self.out, text.as_bytes());
        Ok(())
    }
}

fn push_hex_unless(out: &mut Vec<u8>, bytes: &[u8], plain: impl Fn(u8) -> bool + Copy) {
    if are_all(bytes, plain) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte & 15)]);
        }
    }
}

/// Nearly always so. Looks at every byte, since a loop without an early end is vectorised.
fn are_all(bytes: &[u8], plain: impl Fn(u8) -> bool) -> bool {
    bytes
        .iter()
        .fold(true, |all_plain, &byte| all_plain & plain(byte))
}

/// Whether a byte stands for itself in both formats.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

fn push_json_char(out: &mut Vec<u8>, char: char) {
    match char {
        '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{2028}' | '\u{2029}' => push_unicode(out, char as u16),
        _ if char.is_control() => push_unicode(out, char as u16),
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn push_unicode(out: &mut Vec<u8>, code: u16) {
    let [high, low] = code.to_be_bytes();
    out.extend_from_slice(b"\\u");
    out.extend_from_slice(&[hex(high >> 4), hex(high & 15), hex(low >> 4), hex(low & 15)]);
}

/// A digit as nginx writes it.
const fn hex(digit: u8) -> u8 {
    match digit {
        0..=9 => b'0' + digit,
        _ => b'A' + digit - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(push: fn(&mut Vec<u8>, &[u8]), bytes: &[u8], expected: &str) {
        let mut out = Vec::new();
        push(&mut out, bytes);
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn hex_escapes_what_could_forge_a_line_or_a_field() {
        check(push_hex_escaped, b"a b/~", "a b/~");
        check(push_hex_escaped, b"a\r\nb\0", "a\\x0D\\x0Ab\\x00");
        check(push_hex_escaped, b"\"\\", "\\x22\\x5C");
        check(push_hex_escaped, "é\u{7f}".as_bytes(), "\\xC3\\xA9\\x7F");
        check(push_hex_escaped, b"\xff", "\\xFF");
        check(push_word, b"a b\n", "a\\x20b\\x0A");
    }

    #[test]
    fn json_escapes_what_could_forge_a_line_or_a_field() {
        check(push_json_escaped, b"a b/~", "a b/~");
        check(push_json_escaped, b"\"\\\n\r\t\0", r#"\"\\\n\r\t\u0000"#);
        check(push_json_escaped, "é🎬".as_bytes(), "é🎬");
        check(push_json_escaped, b"a\xff\xfeb", r"a\ufffd\ufffdb");
        check(
            push_json_escaped,
            "\u{7f}\u{85}\u{2028}".as_bytes(),
            r"\u007F\u0085\u2028",
        );
    }
}
