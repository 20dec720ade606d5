//! The load balancer's listeners: bound at the start and by reloads, closed when a reload drops
//! them.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    config::Http,
    listener::{Listener, ListenerSender, ServiceId},
    net::{self, BindError},
    state::{HttpSettings, Shared},
};

/// The listeners that are open, and the way to the workers.
#[derive(Debug)]
pub struct Listeners {
    shared: Arc<Shared>,
    workers: Vec<ListenerSender>,
    open: Vec<OpenListener>,
    /// The redirect service's; open as long as the process.
    redirect: Option<DropGuard>,
    opened_ever: usize,
}

#[derive(Debug)]
struct OpenListener {
    id: usize,
    listen: SocketAddr,
    /// Closes it when it is dropped.
    _guard: DropGuard,
}

/// The sockets of listeners that are new in a configuration.
#[derive(Debug)]
pub struct Bound(Vec<(SocketAddr, Vec<TcpListener>)>);

impl Bound {
    /// Binds the listeners of a configuration that are not `open`.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound. None stays bound then.
    pub fn new(config: &[Http], open: &[bool], workers: NonZeroUsize) -> Result<Self, BindError> {
        let open = open.iter().copied().chain(std::iter::repeat(false));
        let new = config.iter().zip(open).filter(|(_, open)| !open);
        let bind = |(http, _): (&Http, bool)| {
            let sockets = net::bind_for_workers("the HTTP load balancer", http.listen, workers)?;
            Ok((http.listen, sockets))
        };
        new.map(bind).collect::<Result<_, _>>().map(Self)
    }

    /// Where each is, with the port that the system chose for port 0.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        let first = |(_, sockets): &(_, Vec<TcpListener>)| sockets.first()?.local_addr().ok();
        self.0.iter().filter_map(first)
    }
}

impl Listeners {
    /// None is open yet.
    pub fn new(shared: Arc<Shared>, workers: Vec<ListenerSender>) -> Self {
        Self {
            shared,
            workers,
            open: Vec::new(),
            redirect: None,
            opened_ever: 0,
        }
    }

    /// Opens the redirect service's listener.
    pub fn open_redirect(&mut self, sockets: Vec<TcpListener>) {
        self.redirect = Some(self.hand_out(ServiceId::Redirect, sockets));
    }

    /// Whether the listeners of a configuration are open, one by one: port 0 may be there more
    /// than once.
    pub(super) fn are_open(&self, config: &[Http]) -> Vec<bool> {
        let ids = self.ids(config);
        ids.iter().map(Option::is_some).collect()
    }

    fn ids(&self, config: &[Http]) -> Vec<Option<usize>> {
        let mut open: Vec<&OpenListener> = self.open.iter().collect();
        let id = |http: &Http| {
            let at = open.iter().position(|open| open.listen == http.listen)?;
            Some(open.remove(at).id)
        };
        config.iter().map(id).collect()
    }

    /// The settings of a configuration's listeners. Those that are not open yet take the next of
    /// `bound`, but do not accept before [`Listeners::open`].
    pub(super) fn settings(&self, config: &[Http]) -> Vec<HttpSettings> {
        let mut next_id = self.opened_ever;
        let mut settings = Vec::with_capacity(config.len());
        for (http, open) in config.iter().zip(self.ids(config)) {
            let id = open.unwrap_or(next_id);
            next_id += usize::from(open.is_none());
            settings.push(HttpSettings {
                id,
                settings: Arc::new(http.clone()),
            });
        }
        settings
    }

    /// Opens what was bound, and closes what the configuration does not have any more. Comes after
    /// the settings were published.
    pub(super) fn open(&mut self, bound: Bound, config: &[Http]) {
        let is_wanted = |open: &OpenListener| config.iter().any(|http| http.listen == open.listen);
        self.open.retain(is_wanted);
        for (listen, sockets) in bound.0 {
            let id = self.opened_ever;
            self.opened_ever += 1;
            let guard = self.hand_out(ServiceId::Http(id), sockets);
            self.open.push(OpenListener {
                id,
                listen,
                _guard: guard,
            });
        }
    }

    fn hand_out(&self, service: ServiceId, sockets: Vec<TcpListener>) -> DropGuard {
        let closed = CancellationToken::new();
        for (worker, socket) in self.workers.iter().zip(sockets) {
            self.shared.expect_accept_loops(1);
            let listener = Listener {
                service,
                socket,
                closed: closed.clone(),
            };
            if worker.try_send(listener).is_err() {
                // The worker is gone, and with it the process.
                self.shared.accept_loop_ended();
            }
        }
        closed.drop_guard()
    }
}
