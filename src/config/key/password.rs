//! The kind of a password.

use serde_json::{Value as Json, json};

use crate::config::{
    Password,
    key::{Kind, Value},
};

/// A password that another server gave out. Messages do not show it.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct PasswordText;

impl Kind for PasswordText {
    fn words(&self) -> String {
        "password".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "description": "a password; ${NAME} takes it from the environment" })
    }
}

impl Value for PasswordText {
    type Value = Password;
    const IS_FREE_TEXT: bool = true;

    fn parse(&self, text: &str) -> Result<Password, String> {
        Ok(Password::new(text))
    }

    fn shown(&self, _text: &str) -> String {
        "***".to_owned()
    }
}
