//! The connections of one worker to backends that may take another request.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt,
    rc::Rc,
};

use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    config::AdminState,
    data::{
        WorkerContext,
        http::backend_conn::{BackendConn, Http1Conn, Http2Conn},
    },
    net::HttpVersion,
    state::Member,
};

/// Connections by backend.
#[derive(Default)]
pub(in crate::data) struct ConnPool {
    kept: RefCell<HashMap<usize, BackendConns>>,
}

/// The connections to one backend.
#[derive(Default)]
struct BackendConns {
    /// HTTP/1.1, one request at a time. The one that was used last is taken first, so that the
    /// others can grow old.
    idle: Vec<Idle>,
    /// HTTP/2.
    shared: Vec<Rc<Http2Conn>>,
    /// What its latest connection spoke.
    version: Option<HttpVersion>,
    /// Held by whoever connects where others may share what comes of it.
    connecting: Rc<Mutex<()>>,
}

struct Idle {
    conn: Http1Conn,
    since: Instant,
}

impl Idle {
    fn is_usable(&mut self, now: Instant) -> bool {
        let idle_for = now.saturating_duration_since(self.since);
        idle_for < self.conn.idle_time() && self.conn.is_ready()
    }
}

impl ConnPool {
    /// Takes a connection that is open, ready and not too old.
    pub(super) fn take(&self, backend: usize, now: Instant) -> Option<BackendConn> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.get_mut(&backend)?;
        if let Some(conn) = kept.shared.iter().find(|conn| conn.has_room()) {
            return Some(BackendConn::Http2(conn.share()));
        }
        while let Some(mut idle) = kept.idle.pop() {
            if idle.is_usable(now) {
                return Some(BackendConn::Http1(idle.conn));
            }
        }
        None
    }

    /// Keeps a connection for the next request; the oldest goes if there are too many.
    pub(super) fn put(&self, backend: usize, conn: Http1Conn, now: Instant) {
        let mut kept = self.kept.borrow_mut();
        let idle = &mut kept.entry(backend).or_default().idle;
        if idle.len() >= IDLE_CONNS_MAX {
            idle.remove(0);
        }
        idle.push(Idle { conn, since: now });
    }

    /// Notes a new connection, so that others may share it if that is possible.
    pub(super) fn opened(&self, backend: usize, conn: &BackendConn) {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(backend).or_default();
        kept.version = Some(conn.version());
        if let BackendConn::Http2(share) = conn {
            kept.shared.push(Rc::clone(share.conn()));
        }
    }

    /// Who connects to a backend that may speak HTTP/2 holds this, so that those who come at the
    /// same time share one connection instead of opening one each.
    pub(super) fn connecting(&self, backend: usize) -> Option<Rc<Mutex<()>>> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(backend).or_default();
        (kept.version != Some(HttpVersion::Http1)).then(|| Rc::clone(&kept.connecting))
    }

    /// Closes what is old, closed, or leads to a backend that `is_gone`.
    fn close_old(&self, is_gone: impl Fn(usize) -> bool) {
        let now = Instant::now();
        let is_old = |since: Instant| now - since >= SHARED_IDLE_TIME_MAX;
        self.kept.borrow_mut().retain(|&backend, kept| {
            if is_gone(backend) {
                kept.idle.clear();
                // Those that carry requests end with them.
                kept.shared.retain(|conn| conn.idle_since().is_none());
            }
            kept.idle.retain_mut(|idle| idle.is_usable(now));
            kept.shared
                .retain(|conn| !conn.is_closed() && !conn.idle_since().is_some_and(is_old));
            let in_use = Rc::strong_count(&kept.connecting) > 1;
            in_use || !kept.idle.is_empty() || !kept.shared.is_empty()
        });
    }
}

impl fmt::Debug for ConnPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnPool").finish_non_exhaustive()
    }
}

/// Closes connections of a worker that nobody should use any more.
pub(in crate::data) fn close_old_connections(worker: &WorkerContext) {
    let snapshot = worker.snapshot();
    let members = snapshot
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.members.iter());
    let is_wanted = |member: &&Member| member.admin_state != AdminState::Disabled;
    let wanted: HashSet<usize> = members
        .filter(is_wanted)
        .map(|member| member.backend.id)
        .collect();
    worker
        .conn_pool
        .close_old(|backend| !wanted.contains(&backend));
}

/// For an HTTP/2 connection, which says when it goes.
const SHARED_IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// For each backend and worker.
const IDLE_CONNS_MAX: usize = 128;
