//! `admin`: the admin listener.

use crate::config::{
    Admin, Token,
    key::{Address, Key, List, Secret, Table, Text},
    overrides::Setting,
    resolve::{addresses::Addresses, backends},
    section::Section,
    small_file,
};

pub(super) const LISTEN: Key<Address> = Key::new(
    "listen",
    Address,
    "127.0.0.1:8404",
    "Where the admin pages are. A change needs a restart",
)
.or_setting(Setting::AdminListen);
const HOSTS: Key<List<Text<String>>> = Key::optional(
    "hosts",
    List {
        each: Text {
            words: "host name",
            parse: host,
        },
        empty: None,
    },
    "any name, or none if `listen` is a loopback address",
    "Names that a request's `Host` may have beside `localhost` and IP addresses (against DNS rebinding)",
);
const TOKEN: Key<Secret> = Key::optional(
    "token",
    Secret,
    "none: changes are made from a loopback address only",
    "The token that requests which change something must carry, as `Authorization: Bearer TOKEN`",
)
.or_setting(Setting::AdminToken);
const TOKEN_FILE: Key<Text<Token>> = Key::optional(
    "token_file",
    Text {
        words: "path",
        parse: token_file,
    },
    "none",
    "A file that holds the token instead. White space around it does not count",
)
.or_setting(Setting::AdminTokenFile);
pub(super) static ADMIN: Table = Table {
    keys: &[&LISTEN, &HOSTS, &TOKEN, &TOKEN_FILE],
    renamed: &[],
    example: "{ listen: 127.0.0.1:8404 }",
};

/// Reads the section.
pub(super) fn admin(section: &Section<'_>, addresses: &mut Addresses) -> Admin {
    let listen = section.known(&LISTEN);
    if let Some(listen) = listen {
        addresses.add(section, &LISTEN, listen);
    }
    let (token, from_file) = (section.given(&TOKEN), section.given(&TOKEN_FILE));
    if token.is_some() && from_file.is_some() {
        let message = "admin.token and admin.token_file are both given; one is enough";
        section
            .reading()
            .fault(section.value_place(&TOKEN_FILE), message.to_owned());
    }
    Admin {
        listen: listen.unwrap_or_else(|| LISTEN.default()),
        hosts: section.list(&HOSTS),
        token: token.or(from_file),
    }
}

fn host(text: &str) -> Result<String, String> {
    match backends::is_host_name(text) {
        // A request's host is compared without the root's dot.
        true => Ok(text.trim_end_matches('.').to_ascii_lowercase()),
        false => Err("is not a host name".to_owned()),
    }
}

fn token_file(path: &str) -> Result<Token, String> {
    let content = small_file::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&content);
    Token::parse(text.trim()).map_err(|error| format!("holds a token that {error}"))
}
