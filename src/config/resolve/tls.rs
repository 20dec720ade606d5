//! `tls` of an upstream: how `https://` backends are verified.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::config::{
    Tls,
    key::{Key, Table, Text},
    section::Section,
    small_file,
};

const CA_FILE: Key<Text<Vec<CertificateDer<'static>>>> = Key::optional(
    "ca_file",
    Text {
        words: "path of a PEM file",
        parse: certificates,
    },
    "Mozilla's authorities",
    "The authorities that are trusted",
);
const SERVER_NAME: Key<Text<String>> = Key::optional(
    "server_name",
    Text {
        words: "host name",
        parse: server_name,
    },
    "the backend's host",
    "The name that certificates must carry",
);
pub(super) static TLS: Table = Table {
    keys: &[&CA_FILE, &SERVER_NAME],
    renamed: &[],
    example: "{ ca_file: ca.pem }",
};

/// Reads the section.
pub(super) fn tls(section: &Section<'_>) -> Tls {
    Tls {
        authorities: section.given(&CA_FILE),
        server_name: section.given(&SERVER_NAME),
    }
}

fn server_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_source) => Err("is not a host name".to_owned()),
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = small_file::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) => {
            let (usable, _) =
                RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
            match usable {
                0 => Err("holds no certificate that can be used".to_owned()),
                _ => Ok(certificates),
            }
        }
        Err(error) => Err(format!("is not a PEM file: {error}")),
    }
}
