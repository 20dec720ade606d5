//! `request_headers` and `response_headers` of a route in the making.

use http::{HeaderName, HeaderValue, header};

/// Headers to set and to remove, none of them twice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::import) struct HeaderRules {
    pub(in crate::import) set: Vec<(String, String)>,
    pub(in crate::import) remove: Vec<String>,
}

impl HeaderRules {
    /// Sets a header, whatever was said of it before.
    ///
    /// # Errors
    ///
    /// Why a route cannot set it.
    pub(in crate::import) fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let parsed = header_name(name)?;
        if name.len() + value.len() > BYTES_MAX {
            return Err("its value is too long");
        }
        let value_parsed =
            HeaderValue::from_str(value).map_err(|_source| "its value is not text")?;
        if parsed == header::HOST && !is_host(&value_parsed) {
            return Err("its value is not a host");
        }
        self.forget(name)?;
        self.set.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Removes a header, whatever was said of it before.
    ///
    /// # Errors
    ///
    /// Why a route cannot remove it.
    pub(in crate::import) fn remove(&mut self, name: &str) -> Result<(), &'static str> {
        if header_name(name)? == header::HOST {
            return Err("every request needs its Host");
        }
        self.forget(name)?;
        self.remove.push(name.to_owned());
        Ok(())
    }

    /// Adds rules that come after these and win over them.
    pub(in crate::import) fn extend(&mut self, later: &Self) {
        for (name, value) in &later.set {
            // They were checked when they were made.
            let _known = self.set(name, value);
        }
        for name in &later.remove {
            let _known = self.remove(name);
        }
    }

    pub(in crate::import) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    fn forget(&mut self, name: &str) -> Result<(), &'static str> {
        self.set
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.remove
            .retain(|other| !other.eq_ignore_ascii_case(name));
        let set: usize = self
            .set
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let removed: usize = self.remove.iter().map(String::len).sum();
        let is_full = self.set.len() + self.remove.len() >= RULES_MAX || set + removed >= BYTES_MAX;
        match is_full {
            false => Ok(()),
            true => Err("there are too many headers"),
        }
    }
}

fn header_name(name: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::try_from(name).map_err(|_source| "its name is no header's")?;
    match FRAMING.contains(&name) {
        true => Err("the header belongs to the connection"),
        false => Ok(name),
    }
}

fn is_host(value: &HeaderValue) -> bool {
    let authority = http::uri::Authority::try_from(value.as_bytes());
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// More than anybody has, and little enough to copy to each of many routes.
const RULES_MAX: usize = 64;
const BYTES_MAX: usize = 4 << 10;
/// What the balancer sets itself.
const FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
