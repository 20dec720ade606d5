//! The idle keep-alive connections of one worker to backends.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
};

use hyper::client::conn::http1::SendRequest;
use tokio::{
    task::{self, AbortHandle},
    time::{Duration, Instant, interval},
};

use crate::data::{WorkerContext, http::body::RequestBody};

/// A connection to a backend. Closed when it is dropped, whatever is still unwritten on it.
#[derive(Debug)]
pub(super) struct BackendConn {
    /// Sends requests on it.
    pub(super) sender: SendRequest<RequestBody>,
    driver: AbortHandle,
}

impl BackendConn {
    /// Lets a task of its own drive the connection.
    pub(super) fn spawn(sender: SendRequest<RequestBody>, driver: impl Future + 'static) -> Self {
        let driver = task::spawn_local(async {
            driver.await;
        });
        Self {
            sender,
            driver: driver.abort_handle(),
        }
    }
}

impl Drop for BackendConn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Idle connections by backend. The one that was used last is taken first, so that the others
/// can grow old.
#[derive(Default)]
pub(in crate::data) struct ConnPool {
    idle: RefCell<HashMap<usize, Vec<Idle>>>,
}

struct Idle {
    conn: BackendConn,
    since: Instant,
}

impl ConnPool {
    /// Takes a connection that is open, ready and not too old.
    pub(super) fn take(&self, backend: usize) -> Option<BackendConn> {
        let mut idle = self.idle.borrow_mut();
        let conns = idle.get_mut(&backend)?;
        let now = Instant::now();
        while let Some(Idle { conn, since }) = conns.pop() {
            if conn.sender.is_ready() && now - since < IDLE_TIME_MAX {
                return Some(conn);
            }
        }
        None
    }

    /// Keeps a connection for the next request; the oldest goes if there are too many.
    pub(super) fn put(&self, backend: usize, conn: BackendConn) {
        let mut idle = self.idle.borrow_mut();
        let conns = idle.entry(backend).or_default();
        if conns.len() >= IDLE_CONNS_MAX {
            conns.remove(0);
        }
        conns.push(Idle {
            conn,
            since: Instant::now(),
        });
    }

    fn close_old(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, conns| {
            conns.retain(|idle| !idle.conn.sender.is_closed() && now - idle.since < IDLE_TIME_MAX);
            !conns.is_empty()
        });
    }
}

impl fmt::Debug for ConnPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnPool").finish_non_exhaustive()
    }
}

/// Closes old connections while the worker lives.
pub(in crate::data) async fn close_old_connections(worker: Weak<WorkerContext>) {
    let mut ticks = interval(IDLE_TIME_MAX / 4);
    loop {
        ticks.tick().await;
        let Some(worker) = worker.upgrade() else {
            return;
        };
        worker.conn_pool.close_old();
        drop::<Rc<_>>(worker);
    }
}

/// Below the keep-alive time of common backends (Node's is 5 s), so that it is mostly we who
/// close: a backend that closes races with the next request.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// For each backend and worker.
const IDLE_CONNS_MAX: usize = 128;
