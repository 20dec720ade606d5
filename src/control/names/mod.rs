//! The addresses of backends that are named, looked up again when DNS says that they are out of
//! date.
//!
//! A name is also looked up again when a backend of it fails, as it may be at another address by now:
//! once a second at most. A name whose look-up fails keeps its last good addresses. Of a name with
//! IPv4 and IPv6 addresses, those of the family are used that takes connections.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Duration, Instant, sleep, sleep_until, timeout},
};

use crate::{
    config::BackendAddr,
    control::resolver::{Answer, Resolver},
    state::Shared,
};

/// Follows names.
#[derive(Debug)]
pub(super) struct Names {
    shared: Arc<Shared>,
    /// Made when the first name is there.
    resolver: Option<Arc<Resolver>>,
    followed: HashMap<Named, Followed>,
    resolved: mpsc::Sender<Resolved>,
    /// The longest that an answer is used.
    ttl_max: watch::Sender<Duration>,
}

/// A name and a port: which of its addresses take connections may differ from port to port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Named {
    host: String,
    port: u16,
}

impl Named {
    fn of(backend: &BackendAddr) -> Self {
        Self {
            host: backend.host.clone(),
            port: backend.port,
        }
    }
}

/// A look-up that came back with something new, or for the first time.
#[derive(Debug)]
pub(super) struct Resolved {
    named: Named,
    /// `None` if it failed.
    addrs: Option<Vec<IpAddr>>,
}

#[derive(Debug)]
struct Followed {
    /// Empty until the first good answer.
    addrs: Vec<IpAddr>,
    /// Whether the first look-up came back.
    asked: bool,
    /// Has it looked up again.
    again: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    /// Follows nothing yet; tells what it finds to `resolved`, and counts in `shared` what fails.
    pub(super) fn new(shared: Arc<Shared>, resolved: mpsc::Sender<Resolved>) -> Self {
        Self {
            shared,
            resolver: None,
            followed: HashMap::new(),
            resolved,
            ttl_max: watch::Sender::new(TTL_MAX),
        }
    }

    /// Uses answers for that long at most, whatever their time to live.
    pub(super) fn keep_for(&self, ttl_max: Duration) {
        self.ttl_max.send_replace(ttl_max);
    }

    /// Looks a name up again, as one of its backends failed.
    pub(super) fn ask_again(&self, backend: &BackendAddr) {
        if let Some(followed) = self.followed.get(&Named::of(backend)) {
            followed.again.notify_one();
        }
    }

    /// Follows the names of these backends and no others.
    pub(super) fn follow<'a>(&mut self, backends: impl Iterator<Item = &'a BackendAddr>) {
        let named = backends.filter(|backend| backend.ip().is_none());
        let wanted: HashSet<Named> = named.map(Named::of).collect();
        self.followed.retain(|named, _| wanted.contains(named));
        for named in wanted {
            if self.followed.contains_key(&named) {
                continue;
            }
            let resolver = self
                .resolver
                .get_or_insert_with(|| Arc::new(Resolver::from_system()));
            let again = Arc::<Notify>::default();
            let follower = Follower {
                again: Arc::clone(&again),
                ttl_max: self.ttl_max.subscribe(),
                named: named.clone(),
                shared: Arc::clone(&self.shared),
                resolver: Arc::clone(resolver),
                resolved: self.resolved.clone(),
            };
            let followed = Followed {
                addrs: Vec::new(),
                asked: false,
                again,
                task: tokio::spawn(follower.run()).abort_handle(),
            };
            self.followed.insert(named, followed);
        }
    }

    /// Notes what a look-up found.
    pub(super) fn note(&mut self, resolved: Resolved) {
        let Some(followed) = self.followed.get_mut(&resolved.named) else {
            return;
        };
        followed.asked = true;
        if let Some(addrs) = resolved.addrs {
            let host = &resolved.named.host;
            tracing::info!(%host, ?addrs, "name has new addresses");
            followed.addrs = addrs;
        }
    }

    /// Whether every name was asked for once.
    pub(super) fn is_complete(&self) -> bool {
        self.followed.values().all(|followed| followed.asked)
    }

    /// Where a backend is, as far as that is known.
    pub(super) fn addrs(&self, backend: &BackendAddr) -> Vec<SocketAddr> {
        let ips = match backend.ip() {
            Some(ip) => vec![ip],
            None => {
                let followed = self.followed.get(&Named::of(backend));
                followed.map_or_else(Vec::new, |followed| followed.addrs.clone())
            }
        };
        let addr = |ip| SocketAddr::new(ip, backend.port);
        ips.into_iter().map(addr).collect()
    }
}

/// Looks one name up, again and again.
struct Follower {
    named: Named,
    shared: Arc<Shared>,
    resolver: Arc<Resolver>,
    resolved: mpsc::Sender<Resolved>,
    again: Arc<Notify>,
    ttl_max: watch::Receiver<Duration>,
}

impl Follower {
    async fn run(mut self) {
        let mut known: Option<Vec<IpAddr>> = None;
        let mut first = true;
        let mut pause = RETRY_AFTER;
        loop {
            let looked_up = self.resolver.lookup(&self.named.host).await;
            let was_first = std::mem::take(&mut first);
            let again_after = match looked_up {
                Ok(Answer { addrs, valid_for }) => {
                    pause = RETRY_AFTER;
                    let addrs = of_one_family(addrs, self.named.port, known.as_deref()).await;
                    if known.as_ref() != Some(&addrs) {
                        known = Some(addrs.clone());
                        self.tell(Some(addrs)).await;
                    }
                    valid_for.min(*self.ttl_max.borrow())
                }
                Err(error) => {
                    self.shared.name_lookups.failed(&self.named.host);
                    let (host, kept) = (&self.named.host, known.is_some());
                    if pause == RETRY_AFTER {
                        tracing::warn!(%host, %error, kept, "name cannot be looked up");
                    }
                    if was_first {
                        self.tell(None).await;
                    }
                    let waited = pause;
                    pause = (pause * 2).min(RETRY_AFTER_MAX);
                    waited
                }
            };
            self.pause(again_after).await;
        }
    }

    /// Waits for that long, or until a backend fails or answers may be used for another time.
    async fn pause(&mut self, time: Duration) {
        let spread = ASK_AGAIN_AFTER.mul_f64(1.0 + fastrand::f64() / 2.0);
        if time <= spread {
            return sleep(time).await;
        }
        let end = Instant::now() + time;
        sleep(spread).await;
        tokio::select! {
            () = sleep_until(end) => {}
            () = self.again.notified() => {}
            Ok(()) = self.ttl_max.changed() => {}
        }
    }

    async fn tell(&self, addrs: Option<Vec<IpAddr>>) {
        let resolved = Resolved {
            named: self.named.clone(),
            addrs,
        };
        let _stopping = self.resolved.send(resolved).await;
    }
}

/// The addresses of one family: a host with both kinds is one backend, not two. Of both, the family
/// that takes connections, IPv4 first; of none, the family that is in use.
async fn of_one_family(addrs: Vec<IpAddr>, port: u16, known: Option<&[IpAddr]>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addrs.into_iter().partition(IpAddr::is_ipv4);
    if v4.is_empty() {
        return v6;
    }
    let is_v6_known = known.is_some_and(|known| known.iter().any(IpAddr::is_ipv6));
    if v6.is_empty() || takes_connections(&v4, port).await {
        return v4;
    }
    match is_v6_known || takes_connections(&v6, port).await {
        true => v6,
        false => v4,
    }
}

/// Whether one of the first few addresses takes a connection within a second.
async fn takes_connections(ips: &[IpAddr], port: u16) -> bool {
    let mut attempts = JoinSet::new();
    for &ip in ips.iter().take(ATTEMPTS_MAX) {
        attempts.spawn(timeout(ATTEMPT_TIME_MAX, TcpStream::connect((ip, port))));
    }
    while let Some(attempt) = attempts.join_next().await {
        if matches!(attempt, Ok(Ok(Ok(_)))) {
            return true;
        }
    }
    false
}

/// Addresses of a family that are tried. Where the first few are all down, so is the rest.
const ATTEMPTS_MAX: usize = 4;
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A name that appears late is found within that time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(4);
/// The shortest time between two look-ups of a name, and as much as half of it more: many backends
/// may fail at once.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
