//! The listeners of a configuration: bound at the start and by reloads, closed when a reload drops
//! them. Knows no service but by its [`ServiceKind`].

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    config::Config,
    listener::{Listener, ListenerSender, ServiceId},
    net::{self, BindError},
    state::{HttpSettings, ListenerSettings, ListenerState, ListenerStats, Shared, TcpSettings},
};

/// A listener that a configuration asks for: an address, a transport, and what answers there. All
/// transports are TCP so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenerSpec {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What answers.
    pub service: ServiceKind,
}

/// What answers on a listener, as the configuration knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceKind {
    /// The redirect service.
    Redirect,
    /// The HTTP load balancer.
    Http,
    /// The TCP load balancer.
    Tcp,
}

impl ServiceKind {
    /// The word for it in statistics.
    fn label(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }

    /// As the operator knows it.
    fn purpose(self) -> &'static str {
        match self {
            Self::Redirect => "the redirect service",
            Self::Http => "the HTTP load balancer",
            Self::Tcp => "the TCP load balancer",
        }
    }
}

/// The listeners of a configuration: the redirect service's first, then the HTTP load balancer's and
/// the TCP load balancer's in their order.
pub fn listener_specs(config: &Config) -> Vec<ListenerSpec> {
    let redirect = config.redirect.iter().map(|redirect| ListenerSpec {
        listen: redirect.listen,
        service: ServiceKind::Redirect,
    });
    let http = config.http.iter().map(|http| ListenerSpec {
        listen: http.listen,
        service: ServiceKind::Http,
    });
    let tcp = config.tcp.iter().map(|tcp| ListenerSpec {
        listen: tcp.listen,
        service: ServiceKind::Tcp,
    });
    redirect.chain(http).chain(tcp).collect()
}

/// The listeners that are open, and the way to the workers.
#[derive(Debug)]
pub struct Listeners {
    shared: Arc<Shared>,
    workers: Vec<ListenerSender>,
    open: Vec<OpenListener>,
    opened_ever: usize,
}

#[derive(Debug)]
struct OpenListener {
    id: usize,
    spec: ListenerSpec,
    /// With the port that the system chose for port 0.
    addr: SocketAddr,
    stats: Arc<ListenerStats>,
    /// Closes it when it is dropped.
    _guard: DropGuard,
}

/// The sockets of listeners that are new in a configuration.
#[derive(Debug)]
pub struct Bound(Vec<(ListenerSpec, Vec<TcpListener>)>);

impl Bound {
    /// Binds the listeners that are not `open`.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound. None stays bound then.
    pub fn new(
        specs: &[ListenerSpec],
        open: &[bool],
        workers: NonZeroUsize,
    ) -> Result<Self, BindError> {
        let open = open.iter().copied().chain(std::iter::repeat(false));
        let new = specs.iter().zip(open).filter(|(_, open)| !open);
        let bind = |(spec, _): (&ListenerSpec, bool)| {
            let sockets = net::bind_for_workers(spec.service.purpose(), spec.listen, workers)?;
            Ok((*spec, sockets))
        };
        new.map(bind).collect::<Result<_, _>>().map(Self)
    }

    /// Where each listener of a service is, with the port that the system chose for port 0.
    pub fn addrs(&self, service: ServiceKind) -> impl Iterator<Item = SocketAddr> {
        let of_service = self
            .0
            .iter()
            .filter(move |(spec, _)| spec.service == service);
        of_service.filter_map(|(_, sockets)| sockets.first()?.local_addr().ok())
    }
}

impl Listeners {
    /// None is open yet.
    pub fn new(shared: Arc<Shared>, workers: Vec<ListenerSender>) -> Self {
        Self {
            shared,
            workers,
            open: Vec::new(),
            opened_ever: 0,
        }
    }

    /// Whether the listeners of a configuration are open, one by one: port 0 may be there more
    /// than once.
    pub(super) fn are_open(&self, specs: &[ListenerSpec]) -> Vec<bool> {
        let ids = self.ids(specs);
        ids.iter().map(Option::is_some).collect()
    }

    fn ids(&self, specs: &[ListenerSpec]) -> Vec<Option<usize>> {
        let mut open: Vec<&OpenListener> = self.open.iter().collect();
        let id = |spec: &ListenerSpec| {
            let at = open.iter().position(|open| open.spec == *spec)?;
            Some(open.remove(at).id)
        };
        specs.iter().map(id).collect()
    }

    /// The settings of a configuration's listeners. Those that are not open yet take the next of
    /// `bound`, but do not accept before [`Listeners::open`].
    pub(super) fn settings(&self, specs: &[ListenerSpec], config: &Config) -> ListenerSettings {
        let mut next_id = self.opened_ever;
        let (mut http_ids, mut tcp_ids) = (Vec::new(), Vec::new());
        for (spec, open) in specs.iter().zip(self.ids(specs)) {
            let id = open.unwrap_or(next_id);
            next_id += usize::from(open.is_none());
            match spec.service {
                ServiceKind::Redirect => {}
                ServiceKind::Http => http_ids.push(id),
                ServiceKind::Tcp => tcp_ids.push(id),
            }
        }
        let rate_limits = &self.shared.rate_limits;
        let http = http_ids.into_iter().zip(&config.http);
        let tcp = tcp_ids.into_iter().zip(&config.tcp);
        ListenerSettings {
            http: http
                .map(|(id, http)| HttpSettings::new(id, http, rate_limits))
                .collect(),
            tcp: tcp
                .map(|(id, tcp)| TcpSettings {
                    id,
                    settings: Arc::new(tcp.clone()),
                })
                .collect(),
        }
    }

    /// Opens what was bound, and closes what the configuration does not have any more. Comes after
    /// the settings were published.
    pub(super) fn open(&mut self, bound: Bound, specs: &[ListenerSpec]) {
        self.open.retain(|open| specs.contains(&open.spec));
        for (spec, sockets) in bound.0 {
            let id = self.opened_ever;
            self.opened_ever += 1;
            let service = match spec.service {
                ServiceKind::Redirect => ServiceId::Redirect,
                ServiceKind::Http => ServiceId::Http(id),
                ServiceKind::Tcp => ServiceId::Tcp(id),
            };
            let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
            let stats = Arc::<ListenerStats>::default();
            let guard = self.hand_out(service, sockets, &stats);
            self.open.push(OpenListener {
                id,
                spec,
                addr: bound.unwrap_or(spec.listen),
                stats,
                _guard: guard,
            });
        }
        let open = self.open.iter().map(|open| ListenerState {
            id: open.id,
            service: open.spec.service.label(),
            addr: open.addr,
            stats: Arc::clone(&open.stats),
        });
        self.shared.listeners.publish(open.collect());
    }

    fn hand_out(
        &self,
        service: ServiceId,
        sockets: Vec<TcpListener>,
        stats: &Arc<ListenerStats>,
    ) -> DropGuard {
        let closed = CancellationToken::new();
        for (worker, socket) in self.workers.iter().zip(sockets) {
            self.shared.expect_accept_loops(1);
            let listener = Listener {
                service,
                socket,
                stats: Arc::clone(stats),
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
