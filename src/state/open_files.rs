//! The open files that connections may take, shared between clients and backends by need.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many files all connections of the process may take. Backends may take what clients leave,
/// and an eighth at least. 64 files stay for probes, the admin listener and the workers.
#[derive(Debug)]
pub struct OpenFiles {
    for_connections: usize,
    /// Files that connections to backends have. Relaxed: connections that open at the same instant
    /// may take a few of the 64.
    to_backends: AtomicUsize,
}

impl OpenFiles {
    /// What a limit of open files (`RLIMIT_NOFILE`) leaves for connections.
    pub fn within(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            for_connections: limit - KEPT_BACK.min(limit / 2),
            to_backends: AtomicUsize::new(0),
        }
    }

    /// The client connections that may be open now. Never zero.
    pub fn client_connections_max(&self) -> usize {
        let to_backends = self.to_backends.load(Ordering::Relaxed);
        let for_backends = to_backends.max(self.for_connections / 8);
        self.for_connections.saturating_sub(for_backends).max(1)
    }

    /// Takes a file for a connection to a backend, beside those of `clients`; `None` if too few
    /// are left.
    pub fn take(self: &Arc<Self>, clients: usize) -> Option<BackendFile> {
        let taken = self.to_backends.fetch_add(1, Ordering::Relaxed);
        let file = BackendFile(Arc::clone(self));
        (taken.saturating_add(clients) < self.for_connections).then_some(file)
    }
}

/// The file of a connection to a backend; given back when it is dropped.
#[derive(Debug)]
pub struct BackendFile(Arc<OpenFiles>);

impl Drop for BackendFile {
    fn drop(&mut self) {
        self.0.to_backends.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Files that no connection takes.
const KEPT_BACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_an_eighth_and_the_reserve() {
        for (limit, clients) in [
            (1_048_576, 917_448),
            (1024, 840),
            (256, 168),
            (100, 44),
            (1, 1),
            (0, 1),
        ] {
            let files = OpenFiles::within(limit);
            assert_eq!(files.client_connections_max(), clients, "{limit} files");
        }
    }

    #[test]
    fn backends_take_what_clients_leave() {
        let files = Arc::new(OpenFiles::within(256));
        let taken: Vec<_> = std::iter::from_fn(|| files.take(32)).collect();
        assert_eq!(taken.len(), 160);
        assert_eq!(files.client_connections_max(), 32);
        drop(taken);
        assert_eq!(files.client_connections_max(), 168);
    }
}
