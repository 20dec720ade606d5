//! The kind of a database's URL.

use serde_json::{Value as Json, json};

use crate::config::{
    Database,
    key::{Kind, Value},
    masked_url::masked,
};

/// A database's URL. Messages show it without its password.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct DatabaseUrl;

impl Kind for DatabaseUrl {
    fn words(&self) -> String {
        "`sqlite://FILE` or `postgres://USER@HOST/DATABASE`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "description": "sqlite://FILE or postgres://USER@HOST/DATABASE" })
    }
}

impl Value for DatabaseUrl {
    type Value = Database;

    fn parse(&self, text: &str) -> Result<Database, String> {
        Database::parse(text).map_err(str::to_owned)
    }

    fn shown(&self, text: &str) -> String {
        masked(text)
    }
}
