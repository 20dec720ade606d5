//! What a request holds of a backend, and how that is given back.

use std::{fmt, rc::Rc};

use tokio::{
    task,
    time::{Duration, Instant, timeout},
};

use crate::{
    data::{
        WorkerContext,
        http::{backend_conn::BackendConn, request_body::Upload},
    },
    state::InFlight,
};

/// A backend and the connection to it while a request uses them.
pub(super) struct Lease {
    pub(super) worker: Rc<WorkerContext>,
    pub(super) in_flight: InFlight,
    pub(super) conn: BackendConn,
    pub(super) upload: Rc<Upload>,
}

impl Lease {
    /// Gives the connection back for the next request, if this one was read to its end.
    pub(super) fn give_back(self) {
        let Self {
            worker,
            in_flight,
            conn,
            upload,
        } = self;
        if !upload.has_ended() {
            // The response came before the upload ended: what is left of it must not be taken for
            // another request, by the backend or by us.
            upload.abandon();
            return;
        }
        let mut conn = match conn {
            BackendConn::Http1(conn) => conn,
            // Others use it at the same time.
            BackendConn::Http2(_share) => return,
        };
        let backend = in_flight.backend().id;
        drop(in_flight);
        if conn.is_ready() {
            worker.conn_pool.put(backend, conn, upload.now());
            return;
        }
        task::spawn_local(async move {
            if let Ok(true) = timeout(READY_TIME_MAX, conn.becomes_ready()).await {
                worker.conn_pool.put(backend, conn, Instant::now());
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

/// What a connection may take to become ready after its response was read. It mostly is at once,
/// unless the backend left a part of the request unread.
const READY_TIME_MAX: Duration = Duration::from_secs(1);
