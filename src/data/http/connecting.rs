//! Which connection to a backend a request gets: one that was kept, a share in one, or a new one.

use std::sync::Arc;

use tokio::time::timeout;

use crate::{
    data::{
        error::ForwardError,
        http::{attempt::Work, backend_conn::BackendConn},
    },
    net::{Dialing, dial},
    state::Backend,
};

/// Whether a connection that others used may be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reuse {
    Allowed,
    Forbidden,
}

/// Whether a connection carried a request before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Freshness {
    Fresh,
    Reused,
}

impl Work<'_> {
    /// Gets a connection to a backend.
    pub(super) async fn connection(
        &self,
        backend: &Arc<Backend>,
        reuse: Reuse,
    ) -> Result<(BackendConn, Freshness), ForwardError> {
        // A tunnel takes its connection with it.
        let reuse = match self.sending.upgrade {
            Some(_) => Reuse::Forbidden,
            None => reuse,
        };
        if let Some(conn) = self.kept(backend, reuse) {
            return Ok((conn, Freshness::Reused));
        }
        let connect_timeout = self.upstream.settings.connect_timeout;
        // In a box, as it is large and rare.
        let opened = Box::pin(timeout(connect_timeout, self.open(backend, reuse)));
        opened.await.unwrap_or_else(|_elapsed| {
            Err(ForwardError::ConnectTimeout {
                upstream: self.upstream.name().to_owned(),
                timeout: connect_timeout,
            })
        })
    }

    fn kept(&self, backend: &Backend, reuse: Reuse) -> Option<BackendConn> {
        let pool = &self.worker.conn_pool;
        match reuse {
            Reuse::Allowed => pool.take(backend.id, self.sending.upload.now()),
            Reuse::Forbidden => None,
        }
    }

    async fn open(
        &self,
        backend: &Arc<Backend>,
        reuse: Reuse,
    ) -> Result<(BackendConn, Freshness), ForwardError> {
        let pool = &self.worker.conn_pool;
        let wanted = match self.sending.upgrade {
            Some(_) => Dialing::Http1,
            None => Dialing::Any,
        };
        let may_be_shared = wanted == Dialing::Any && backend.may_speak_http2();
        let connecting = may_be_shared.then(|| pool.connecting(backend.id)).flatten();
        let mut turn = None;
        if let Some(connecting) = &connecting {
            turn = Some(connecting.lock().await);
            // Whoever was first may have left something to share.
            if let Some(conn) = self.kept(backend, reuse) {
                return Ok((conn, Freshness::Reused));
            }
            // Or found that nothing can be: then nobody need wait for another.
            if pool.connecting(backend.id).is_none() {
                turn = None;
            }
        }
        let dialed = dial(backend, self.upstream, wanted).await;
        let (stream, version) = dialed.map_err(|source| ForwardError::Connect {
            upstream: self.upstream.name().to_owned(),
            source,
        })?;
        let opened = BackendConn::open(stream, version).await;
        let conn = opened.map_err(|_source| ForwardError::NoResponse)?;
        if may_be_shared {
            pool.opened(backend.id, &conn);
        }
        drop(turn);
        Ok((conn, Freshness::Fresh))
    }
}
