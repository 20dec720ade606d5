//! The admin API's token.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A token that requests must carry. Kept as its hash, and never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Token([u8; 32]);

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// When it is too short to be safe, or cannot be sent in a header.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() < LENGTH_MIN {
            return Err(
                "is too short: a token has at least 16 characters, such as those of `openssl rand -hex 32`",
            );
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a character other than visible ASCII");
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// Whether a client's token is this one. Takes as long for a wrong one as for the right one.
    pub fn is(&self, presented: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        digest.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

const LENGTH_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_visible_and_known_again() {
        let token = Token::parse("0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.is(other.as_bytes()));
        }
        for bad in ["", "short", "0123456789 abcdef", "0123456789abcdé0"] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
