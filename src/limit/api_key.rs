//! API keys: `weir_`, an ID, and a secret with a checksum, so that a scanner for leaked secrets can
//! find them, and a key that is cut or mistyped needs no look-up.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A key in clear. Shown once, when it is made; kept nowhere.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ApiKey<'a> {
    text: &'a str,
    id: &'a str,
}

/// What is kept of a key: its ID, and the SHA-256 of its text. A slow hash would add nothing, as the
/// secret has 160 random bits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredKey {
    /// The public part, to find the key by.
    pub id: Box<str>,
    /// The hash.
    pub sha256: [u8; 32],
}

impl<'a> ApiKey<'a> {
    /// Writes a new key. `draw` gives random numbers below its argument.
    pub fn generate(mut draw: impl FnMut(usize) -> usize) -> String {
        let mut text = String::from(PREFIX);
        push_random(&mut text, ID_LENGTH, &mut draw);
        text.push('_');
        push_random(&mut text, SECRET_LENGTH, &mut draw);
        push_checksum(&mut text);
        text
    }

    /// Reads a key as a client sends it; `None` where it cannot be one. Costs a checksum of some
    /// fifty bytes.
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (id, secret) = rest.split_at_checked(ID_LENGTH)?;
        let secret = secret.strip_prefix('_')?;
        let is_key = secret.len() == SECRET_LENGTH + CHECKSUM_LENGTH
            && [id, secret].iter().all(|part| is_base62(part));
        let mut expected = text
            .get(..text.len().checked_sub(CHECKSUM_LENGTH)?)?
            .to_owned();
        push_checksum(&mut expected);
        (is_key && expected == text).then_some(Self { text, id })
    }

    /// The public part.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// What is kept of it.
    pub fn stored(&self) -> StoredKey {
        StoredKey {
            id: self.id.into(),
            sha256: Sha256::digest(self.text).into(),
        }
    }
}

impl fmt::Debug for ApiKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl StoredKey {
    /// Whether a client's key is this one. Takes as long for a wrong key as for the right one.
    pub fn is_of(&self, key: &ApiKey<'_>) -> bool {
        let digest: [u8; 32] = Sha256::digest(key.text).into();
        digest.ct_eq(&self.sha256).into()
    }
}

fn push_random(text: &mut String, length: usize, draw: &mut impl FnMut(usize) -> usize) {
    text.extend((0..length).map(|_| digit(draw(BASE62.len()))));
}

/// The CRC-32 of what is there, in six digits.
fn push_checksum(text: &mut String) {
    let mut checksum = crc32fast::hash(text.as_bytes()) as usize;
    for _ in 0..CHECKSUM_LENGTH {
        text.push(digit(checksum % BASE62.len()));
        checksum /= BASE62.len();
    }
}

fn digit(value: usize) -> char {
    BASE62.get(value).map_or('0', |&digit| char::from(digit))
}

fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

const PREFIX: &str = "weir_";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 10;
/// 27 digits of base 62 are 160 bits.
const SECRET_LENGTH: usize = 27;
const CHECKSUM_LENGTH: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn generated() -> String {
        ApiKey::generate(|below| fastrand::usize(..below))
    }

    #[test]
    fn a_new_key_is_read_and_known_again() {
        let text = generated();
        let key = ApiKey::parse(&text).unwrap();
        let stored = key.stored();
        assert!(text.starts_with(&format!("weir_{}_", stored.id)), "{text}");
        assert!(stored.is_of(&key));
        let other = generated();
        assert!(!stored.is_of(&ApiKey::parse(&other).unwrap()));
    }

    #[test]
    fn a_changed_key_is_none() {
        let text = generated();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(ApiKey::parse(str::from_utf8(&changed).unwrap()), None);
        }
        for text in ["", "weir_", "weir_ä", &text[..40], &format!("{text}0")] {
            assert_eq!(ApiKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_not_shown_by_accident() {
        let text = generated();
        let shown = format!("{:?}", ApiKey::parse(&text).unwrap());
        assert!(!shown.contains(&text[20..]), "{shown}");
    }
}
