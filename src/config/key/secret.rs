//! The kind of a secret.

use serde_json::{Value as Json, json};

use crate::config::{
    Token,
    key::{Kind, Value},
};

/// A token. Messages do not show it.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Secret;

impl Kind for Secret {
    fn words(&self) -> String {
        "secret, 16 characters or more".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "description": "a secret of 16 characters or more" })
    }
}

impl Value for Secret {
    type Value = Token;
    const IS_FREE_TEXT: bool = true;

    fn parse(&self, text: &str) -> Result<Token, String> {
        Token::parse(text).map_err(str::to_owned)
    }

    fn shown(&self, _text: &str) -> String {
        "***".to_owned()
    }
}
