//! `tls` of an upstream: how `https://` backends are verified.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::config::{
    Tls,
    key::{Key, Table, Text},
    section::Section,
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

/// A file of the usual kind and size: a reload must neither wait for a pipe nor read without end.
fn read_pem(path: &str) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut pem = Vec::new();
    File::open(path)?
        .take(PEM_BYTES_MAX + 1)
        .read_to_end(&mut pem)?;
    match pem.len() as u64 > PEM_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(pem),
    }
}

/// All of Mozilla's authorities take a fifth of that.
const PEM_BYTES_MAX: u64 = 1 << 20;

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_pem(path).map_err(|error| format!("cannot be read: {error}"))?;
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
