//! How many files this process and the servers, which inherit the limit, may open.

use std::error::Error;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit so that a relay, which needs two files for each connection, can serve this many.
pub fn allow_connections(connections: u32) -> Result<(), Box<dyn Error>> {
    let needed = 2 * u64::from(connections) + 2000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let wanted = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, wanted)
        .map_err(|error| format!("{needed} open files must be allowed (ulimit -n): {error}").into())
}
