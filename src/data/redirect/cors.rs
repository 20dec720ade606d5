//! What an answer over HTTP says of web pages that may read it (Fetch standard, "CORS protocol").

use crate::{
    config::Cors,
    message::{Fields, Kind, RequestHead},
};

/// What an answer says; nothing where CORS is off.
#[derive(Clone, Debug)]
pub(super) struct CorsAnswer {
    /// The origin that may read it.
    allowed: Option<Vec<u8>>,
    /// Whether another origin would get another answer.
    varies: bool,
}

impl CorsAnswer {
    /// What the answer to a request says.
    pub(super) fn to(head: &RequestHead, cors: &Cors) -> Self {
        let origin = head.fields().value(b"origin");
        let allowed = match cors {
            Cors::Off => None,
            Cors::Any => Some(b"*".to_vec()),
            Cors::Origins(origins) => origin
                .filter(|origin| origins.iter().any(|allowed| allowed.as_bytes() == *origin))
                .map(<[u8]>::to_vec),
        };
        Self {
            allowed,
            varies: matches!(cors, Cors::Origins(_)),
        }
    }

    /// Writes it into the head of an answer.
    pub(super) fn write(&self, fields: &mut Fields) {
        if let Some(origin) = &self.allowed {
            fields.push_as(Kind::Other, b"access-control-allow-origin", origin);
        }
        if self.varies {
            fields.push_as(Kind::Other, b"vary", b"origin");
        }
    }

    /// Writes what a preflight asks for.
    pub(super) fn write_preflight(&self, fields: &mut Fields) {
        if self.allowed.is_none() {
            return;
        }
        for (name, value) in [
            (
                &b"access-control-allow-methods"[..],
                &b"GET, HEAD, POST"[..],
            ),
            (b"access-control-allow-headers", b"*"),
            // Chromium keeps it for no longer than two hours.
            (b"access-control-max-age", b"7200"),
        ] {
            fields.push_as(Kind::Other, name, value);
        }
    }
}
