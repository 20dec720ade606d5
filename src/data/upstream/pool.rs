//! The connections of one worker to backends that may take another request.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
    sync::Arc,
};

use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    data::{
        stream::Turn,
        upstream::{Http1Upstream, Http2Connection, Http2Request, UpstreamConnection},
    },
    net::HttpVersion,
    state::{BackendFile, Shared},
};

/// Connections by backend.
pub(in crate::data) struct ConnPool {
    shared: Arc<Shared>,
    kept: RefCell<HashMap<usize, BackendConnections, BuildHasherDefault<IdHasher>>>,
}

/// The connections to one backend.
#[derive(Default)]
struct BackendConnections {
    /// HTTP/1.1, one request at a time. The one that was used last is taken first, so that the
    /// others can grow old.
    idle: Vec<Idle>,
    /// HTTP/2.
    shared: Vec<Rc<Http2Connection>>,
    /// What its latest connection spoke.
    version: Option<HttpVersion>,
    /// Held while a connection is opened that other requests may share.
    opening: Rc<Mutex<()>>,
}

struct Idle {
    connection: Box<Http1Upstream>,
    since: Instant,
}

impl Idle {
    fn is_usable(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        let idle_for = turn.now.saturating_duration_since(self.since);
        idle_for < self.connection.idle_time() && self.connection.is_quiet(turn)
    }
}

impl ConnPool {
    /// An empty pool.
    pub(in crate::data) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            kept: RefCell::default(),
        }
    }

    /// A file for a new connection. If none is left, the connection that was idle for longest is
    /// closed for it, as nginx does; `None` if there is no idle one.
    pub(in crate::data) fn file(&self) -> Option<BackendFile> {
        let take = || {
            let clients = self.shared.open_connections();
            self.shared.open_files.take(clients)
        };
        take().or_else(|| {
            self.close_oldest();
            take()
        })
    }

    /// Closes the HTTP/1.1 connection that was idle for longest. Costs a look at each backend.
    fn close_oldest(&self) {
        let mut kept = self.kept.borrow_mut();
        let idle = kept.values_mut().map(|kept| &mut kept.idle);
        let idle = idle.filter(|idle| !idle.is_empty());
        if let Some(idle) = idle.min_by_key(|idle| idle.first().map(|oldest| oldest.since)) {
            idle.remove(0);
        }
    }

    /// Takes a connection that is open, silent and not too old. Costs a look-up.
    pub(in crate::data) fn take(
        &self,
        backend: usize,
        turn: &mut Turn<'_, '_>,
    ) -> Option<UpstreamConnection> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.get_mut(&backend)?;
        while let Some(mut idle) = kept.idle.pop() {
            if idle.is_usable(turn) {
                return Some(UpstreamConnection::Http1(idle.connection));
            }
        }
        kept.share()
    }

    /// A share in an HTTP/2 connection that has room.
    pub(in crate::data) fn share(&self, backend: usize) -> Option<UpstreamConnection> {
        self.kept.borrow().get(&backend)?.share()
    }

    /// Keeps a connection for the next request; the oldest goes if there are too many.
    pub(in crate::data) fn put(
        &self,
        backend: usize,
        connection: Box<Http1Upstream>,
        now: Instant,
    ) {
        let mut kept = self.kept.borrow_mut();
        let idle = &mut kept.entry(backend).or_default().idle;
        if idle.len() >= IDLE_CONNECTIONS_MAX {
            idle.remove(0);
        }
        idle.push(Idle {
            connection,
            since: now,
        });
    }

    /// Notes a new connection to a backend that may speak HTTP/2, so that others may share it.
    pub(in crate::data) fn opened(&self, backend: usize, connection: &UpstreamConnection) {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(backend).or_default();
        kept.version = Some(connection.version());
        if let UpstreamConnection::Http2(request) = connection {
            kept.shared.push(Rc::clone(request.connection()));
        }
    }

    /// A lock for the opening of a connection that other requests may share, so that those which
    /// come at the same time open one instead of one each. `None` once the backend is known to
    /// speak HTTP/1.1 alone.
    pub(in crate::data) fn opening(&self, backend: usize) -> Option<Rc<Mutex<()>>> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(backend).or_default();
        (kept.version != Some(HttpVersion::Http1)).then(|| Rc::clone(&kept.opening))
    }

    /// Closes what is old, closed, or leads to a backend that `is_gone`.
    pub(in crate::data) fn close_old(
        &self,
        turn: &mut Turn<'_, '_>,
        is_gone: impl Fn(usize) -> bool,
    ) {
        let now = turn.now;
        let is_old = |since: Instant| now.saturating_duration_since(since) >= SHARED_IDLE_TIME_MAX;
        self.kept.borrow_mut().retain(|&backend, kept| {
            if is_gone(backend) {
                kept.idle.clear();
                // Those that carry requests end with them.
                kept.shared.retain(|shared| shared.idle_since().is_none());
            }
            kept.idle.retain_mut(|idle| idle.is_usable(turn));
            kept.shared
                .retain(|shared| !shared.is_over() && !shared.idle_since().is_some_and(is_old));
            let in_use = Rc::strong_count(&kept.opening) > 1;
            in_use || !kept.idle.is_empty() || !kept.shared.is_empty()
        });
    }
}

impl BackendConnections {
    fn share(&self) -> Option<UpstreamConnection> {
        let shared = self.shared.iter().find(|shared| shared.has_room())?;
        Some(UpstreamConnection::Http2(Box::new(Http2Request::new(
            shared,
        ))))
    }
}

impl fmt::Debug for ConnPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnPool").finish_non_exhaustive()
    }
}

/// Spreads the ids of backends, which are small numbers that no client chooses.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte));
        }
    }

    fn write_usize(&mut self, id: usize) {
        // Fibonacci hashing (Knuth, volume 3, section 6.4).
        self.0 = (self.0 ^ id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// For an HTTP/2 connection, which says when it goes.
const SHARED_IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// For each backend and worker.
const IDLE_CONNECTIONS_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::{
        config::{Config, Environment, Flags},
        net::Transport,
        state::{OpenFiles, RateLimits, Snapshot},
    };

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_gives_its_file_to_a_new_one() {
        let flags = Flags {
            cdn_host: Some("cdn".to_owned()),
            ..Flags::default()
        };
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let rate_limits = RateLimits::new(config.rate_limits.clients_max);
        let snapshot = Snapshot::new(&config, &rate_limits, Default::default(), Vec::new());
        let shared = Shared::new(snapshot, rate_limits, 1, None, OpenFiles::within(128));
        let pool = ConnPool::new(&shared);
        for backend in 0..64 {
            let transport = Transport::Memory(duplex(1).0);
            let connection = Http1Upstream::new(transport, pool.file().unwrap());
            let since = Instant::now() + Duration::from_millis(64 - backend as u64);
            pool.put(backend, Box::new(connection), since);
        }
        let _in_use = pool.file().unwrap();
        let idle = |backend| !pool.kept.borrow()[&backend].idle.is_empty();
        assert!(idle(0) && idle(62) && !idle(63));
        let rest: Vec<_> = std::iter::from_fn(|| pool.file()).collect();
        assert_eq!(rest.len(), 63);
    }
}
