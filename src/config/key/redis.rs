//! The kind of the URL of a server of Redis.

use serde_json::{Value as Json, json};

use crate::config::{
    RedisUrl,
    key::{Kind, Value},
    masked_url::masked,
};

/// The URL of a server of Redis or Valkey. Messages show it without its password.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct RedisServer;

impl Kind for RedisServer {
    fn words(&self) -> String {
        "`redis://HOST`, `rediss://HOST` or `unix:///PATH`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "description": "redis://HOST[:PORT][/NUMBER], rediss://HOST or unix:///PATH" })
    }
}

impl Value for RedisServer {
    type Value = RedisUrl;

    fn parse(&self, text: &str) -> Result<RedisUrl, String> {
        RedisUrl::parse(text).map_err(str::to_owned)
    }

    fn shown(&self, text: &str) -> String {
        masked(text)
    }
}
