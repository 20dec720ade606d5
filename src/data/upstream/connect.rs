//! Opens a connection to a backend, or waits for one that other requests open.

use std::{rc::Rc, sync::Arc};

use rustix::io::Errno;

use crate::{
    data::{
        context::UpstreamRef,
        fault::Fault,
        upstream::{ConnPool, UpstreamConnection},
    },
    net::{DialError, Dialing, dial},
    state::{Backend, Upstream},
};

/// Whether a connection that other requests used may be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::data) enum Reuse {
    Allowed,
    Forbidden,
}

/// A connection, and whether it carried a request before.
#[derive(Debug)]
pub(in crate::data) struct Connected {
    pub(in crate::data) connection: UpstreamConnection,
    pub(in crate::data) is_reused: bool,
}

/// Opens a connection to a backend. Where the backend may speak HTTP/2, requests that come at the
/// same time open one and share it. Takes as long as the network lets it: the caller sets the
/// limit.
///
/// # Errors
///
/// When there is no connection.
pub(in crate::data) async fn connect(
    pool: Rc<ConnPool>,
    upstream: UpstreamRef,
    backend: Arc<Backend>,
    wanted: Dialing,
    reuse: Reuse,
) -> Result<Connected, Fault> {
    let may_be_shared = wanted == Dialing::Any && backend.may_speak_http2();
    let opening = may_be_shared.then(|| pool.opening(backend.id)).flatten();
    let mut lock = None;
    if let Some(opening) = &opening {
        lock = Some(opening.lock().await);
        // The request before may have left something to share, or found that nothing can be.
        if reuse == Reuse::Allowed
            && let Some(connection) = pool.share(backend.id)
        {
            return Ok(Connected {
                connection,
                is_reused: true,
            });
        }
        if pool.opening(backend.id).is_none() {
            lock = None;
        }
    }
    let file = pool.file().ok_or_else(no_file_left)?;
    let dialed = dial(backend.addr, &backend, upstream.get(), wanted).await;
    let (transport, version) = dialed.map_err(|error| unreached(upstream.get(), error))?;
    let connection = UpstreamConnection::open(transport, version, file).await;
    let connection = connection.map_err(|_broken| Fault::NoResponse)?;
    if may_be_shared {
        pool.opened(backend.id, &connection);
    }
    drop(lock);
    Ok(Connected {
        connection,
        is_reused: false,
    })
}

/// As the system says when a process has too many files.
pub(in crate::data) fn no_file_left() -> Fault {
    Fault::LocalResources {
        source: DialError::Connect(Errno::MFILE.into()),
    }
}

/// What follows from a connection that could not be opened.
pub(in crate::data) fn unreached(upstream: &Upstream, error: DialError) -> Fault {
    match error {
        error if error.is_local() => Fault::LocalResources { source: error },
        source => Fault::Connect {
            upstream: upstream.name().to_owned(),
            source,
        },
    }
}
