//! Files that the configuration names.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

/// Reads a file of the usual kind and size: a reload must neither wait for a pipe nor read without
/// end.
///
/// # Errors
///
/// When it cannot be read, is no regular file, or has more than 1 MiB.
pub(super) fn read(path: &str) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_end(&mut content)?;
    match content.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(content),
    }
}

/// All of Mozilla's authorities take a fifth of that.
const BYTES_MAX: u64 = 1 << 20;
