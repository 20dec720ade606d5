//! URLs in messages.

use url::Url;

/// The URL without its password.
pub(super) fn masked(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        // What cannot be read may hold a password anywhere.
        return text
            .split_once("://")
            .map_or("***", |(scheme, _)| scheme)
            .to_owned();
    };
    if url.password().is_some() {
        let _has_host = url.set_password(Some("***"));
    }
    let query = url.query().map(mask_query);
    url.set_query(query.as_deref());
    url.to_string()
}

/// `?password=…` is another way to give one, and `?pass=…` where the URL is a Unix socket's.
fn mask_query(query: &str) -> String {
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name @ ("password" | "sslpassword" | "pass"), _)) => format!("{name}=***"),
        Some(_) | None => pair.to_owned(),
    });
    masked.collect::<Vec<String>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Database, RedisUrl};

    #[test]
    fn no_message_holds_a_password() {
        for text in [
            "postgres://weir:secret@db/weir",
            "postgres://db/weir?user=weir&password=secret",
            "mysql://weir:secret@db/weir",
            "postgres://weir:secret@[bad/weir",
            "redis://:secret@redis:6379/0",
            "unix:///run/redis.sock?pass=secret",
            "secret",
        ] {
            let shown = masked(text);
            assert!(!shown.contains("secret"), "{shown}");
            if let Ok(database) = Database::parse(text) {
                assert!(!format!("{database} {database:?}").contains("secret"));
            }
            if let Ok(redis) = RedisUrl::parse(text) {
                assert!(!format!("{redis} {redis:?}").contains("secret"));
            }
        }
    }
}
