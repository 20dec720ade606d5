//! A session from its accept to its end.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::SystemTime,
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    config,
    data::{
        context::{LocalSnapshot, UpstreamRef, WorkerContext},
        outcome::CallCount,
        relay::Flow,
        tcp::{
            TcpWorker,
            log::Attempt,
            proxy_header::{self, Addresses},
        },
    },
    net::Transport,
    shutdown::Phase,
    state::{Cause, CloseCause},
};

/// A session. Counted and logged when it is dropped, whatever ends it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) tcp: Rc<TcpWorker>,
    pub(super) settings: Arc<config::Tcp>,
    pub(super) upstream: UpstreamRef,
    pub(super) addresses: Addresses,
    pub(super) time: SystemTime,
    pub(super) began: Instant,
    pub(super) attempts: Vec<Attempt>,
    /// When a backend was connected to.
    pub(super) connected_at: Option<Instant>,
    pub(super) flow: Rc<Flow>,
    /// How it ended; `None` while it goes on.
    pub(super) outcome: Option<Result<(), Cause>>,
    _count: CallCount,
}

/// Serves a connection of a listener to its end. Returns why it ended.
pub(in crate::data) async fn serve(
    tcp: &Rc<TcpWorker>,
    listener: usize,
    transport: Transport,
) -> CloseCause {
    tokio::select! {
        biased;
        () = until_cut(&tcp.context) => CloseCause::Cut,
        cause = run(tcp, listener, transport) => cause,
    }
}

/// The task is woken when a stop goes on.
async fn until_cut(context: &WorkerContext) {
    poll_fn(|_cx| match context.phases.current() {
        Phase::Cut => Poll::Ready(()),
        Phase::Running | Phase::LameDuck | Phase::Draining | Phase::ClosingIdle => Poll::Pending,
    })
    .await;
}

async fn run(tcp: &Rc<TcpWorker>, listener: usize, transport: Transport) -> CloseCause {
    let snapshot = snapshot_for(tcp, listener);
    let Some(mut session) = Session::new(tcp, &snapshot, listener, &transport) else {
        return CloseCause::Done;
    };
    let outcome = session.go(transport).await;
    session.outcome = Some(outcome);
    match outcome {
        Ok(()) => CloseCause::Done,
        Err(Cause::IdleTimeout) => CloseCause::IdleTimeout,
        Err(_) => CloseCause::ConnectionError,
    }
}

/// The current snapshot, or the last that had the listener: a reload may have taken it away while the
/// connection waited to be accepted.
fn snapshot_for(tcp: &TcpWorker, listener: usize) -> LocalSnapshot {
    let snapshot = tcp.context.snapshot();
    if snapshot.tcp(listener).is_some() {
        return snapshot;
    }
    match snapshot.last_with(listener) {
        Some(last) => Rc::new(Arc::clone(last)),
        None => snapshot,
    }
}

impl Session {
    fn new(
        tcp: &Rc<TcpWorker>,
        snapshot: &LocalSnapshot,
        listener: usize,
        transport: &Transport,
    ) -> Option<Self> {
        let settings = &snapshot.tcp(listener)?.settings;
        let now = Instant::now();
        Some(Self {
            upstream: UpstreamRef::new(snapshot, settings.upstream)?,
            settings: Arc::clone(settings),
            addresses: addresses_of(transport),
            time: SystemTime::now(),
            began: now,
            attempts: Vec::new(),
            connected_at: None,
            flow: Rc::new(Flow::new(0, now)),
            outcome: None,
            _count: CallCount::begin(&tcp.context),
            tcp: Rc::clone(tcp),
        })
    }

    async fn go(&mut self, mut client: Transport) -> Result<(), Cause> {
        let begun = self.begin(&mut client).await;
        let (unread, acquired) = begun.inspect_err(|_cause| client.reset_on_close())?;
        self.relay(client, unread, acquired).await
    }

    /// Learns who the client is, and connects to a backend.
    async fn begin(
        &mut self,
        client: &mut Transport,
    ) -> Result<(Vec<u8>, super::acquire::Acquired), Cause> {
        if let Some(stream) = client.tcp() {
            crate::net::give_up_on_the_dead(stream, self.settings.idle_timeout);
        }
        let unread = self.identify(client).await?;
        let acquired = self.acquire(client, unread.is_empty()).await?;
        Ok((unread, acquired))
    }

    /// Reads who the client is, if a trusted proxy says so. Returns what came behind that.
    async fn identify(&mut self, client: &mut Transport) -> Result<Vec<u8>, Cause> {
        let peer = self.addresses.client.ip();
        let trusted = &self.settings.proxy_protocol_from;
        if !trusted.iter().any(|network| network.contains(&peer)) {
            return Ok(Vec::new());
        }
        let time_max = self.tcp.context.connections().header_timeout;
        let read = timeout(time_max, proxy_header::read(client)).await;
        let Ok(Ok((addresses, unread))) = read else {
            return Err(Cause::ProxyHeader);
        };
        self.addresses = addresses.unwrap_or(self.addresses);
        Ok(unread)
    }
}

fn addresses_of(transport: &Transport) -> Addresses {
    let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let stream = transport.tcp();
    let canonical = |addr: Option<std::io::Result<SocketAddr>>| {
        let addr = addr.and_then(Result::ok).unwrap_or(unknown);
        SocketAddr::new(addr.ip().to_canonical(), addr.port())
    };
    Addresses {
        client: canonical(stream.map(TcpStream::peer_addr)),
        local: canonical(stream.map(TcpStream::local_addr)),
    }
}
