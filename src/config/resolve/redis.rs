//! `redis`: the buckets that the processes of a fleet share.

use crate::config::{
    OnFailure, Redis,
    key::{Choice, Key, RedisServer, Table, Text},
    overrides::Setting,
    section::Section,
};

const URL: Key<RedisServer> = Key::optional(
    "url",
    RedisServer,
    "none: each process has buckets of its own",
    "The server of Redis or Valkey that holds the buckets of all processes. A change needs a restart",
)
.or_setting(Setting::Redis);
const PREFIX: Key<Text<String>> = Key::new(
    "prefix",
    Text {
        words: "1 to 64 letters, digits, `-`, `_` or `.`",
        parse: prefix,
    },
    "weir",
    "What the server's keys begin with. Processes with the same one share their buckets",
);
const ON_FAILURE: Key<Choice<OnFailure>> = Key::new(
    "on_failure",
    Choice(&[
        ("local", OnFailure::Local),
        ("allow", OnFailure::Allow),
        ("deny", OnFailure::Deny),
    ]),
    "local",
    "While the server gives no answer: `local` lets each process admit as much as the whole fleet may, `allow` admits all requests, `deny` refuses those that come under a limit",
);
pub(super) static REDIS: Table = Table {
    keys: &[&URL, &PREFIX, &ON_FAILURE],
    renamed: &[],
    example: "{ url: redis://redis:6379 }",
};

/// Reads the section; `None` if no server is named.
pub(super) fn redis(section: &Section<'_>) -> Option<Redis> {
    let url = section.given(&URL);
    let (prefix, on_failure) = (section.get(&PREFIX), section.get(&ON_FAILURE));
    Some(Redis {
        url: url?,
        prefix,
        on_failure,
    })
}

fn prefix(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 64 letters, digits, `-`, `_` or `.`".to_owned()),
    }
}
