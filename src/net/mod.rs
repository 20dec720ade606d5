//! What the system gives: listening sockets, open files, cores; and when to retry an accept.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

mod dial;
mod transport;

pub use dial::{DialError, Dialing, HttpVersion, connect, dial, give_up_on_the_dead};
pub use transport::Transport;

/// Binds one listener for each worker, all to the same address.
///
/// On Linux every worker gets its own socket (`SO_REUSEPORT`) and the kernel spreads new
/// connections over them. Elsewhere that option does not spread, so there is one listener, and
/// its worker hands connections out.
///
/// # Errors
///
/// When the address cannot be bound, another process of ours on the same port included:
/// `SO_REUSEPORT` alone would let both run and share the traffic.
pub fn bind_for_workers(
    purpose: &'static str,
    addr: SocketAddr,
    workers: NonZeroUsize,
) -> Result<Vec<TcpListener>, BindError> {
    let bind_error = |source| BindError {
        purpose,
        addr,
        source,
    };
    if !cfg!(target_os = "linux") {
        return bind_socket(addr, Sharing::Exclusive)
            .map(|listener| vec![listener])
            .map_err(bind_error);
    }
    // Fails if anybody listens there, which a shared bind by the same user would not.
    let probe = bind_socket(addr, Sharing::Exclusive).map_err(bind_error)?;
    let addr = probe.local_addr().map_err(bind_error)?;
    drop(probe);
    (0..workers.get())
        .map(|_| bind_socket(addr, Sharing::BetweenWorkers).map_err(bind_error))
        .collect()
}

/// Binds a listener that nobody else shares.
///
/// # Errors
///
/// When the address cannot be bound.
pub fn bind(purpose: &'static str, addr: SocketAddr) -> Result<TcpListener, BindError> {
    bind_socket(addr, Sharing::Exclusive).map_err(|source| BindError {
        purpose,
        addr,
        source,
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sharing {
    Exclusive,
    BetweenWorkers,
}

fn bind_socket(addr: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    if sharing == Sharing::BetweenWorkers {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = sharing;
    // Accepted sockets inherit both on Linux: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} for {purpose}: {source}{}", bind_hint(.source))]
pub struct BindError {
    /// What the listener is for, as the operator knows it.
    pub purpose: &'static str,
    /// The address.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has it, or this one listens there under another address"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// The cores that this process may use, by CPU affinity and cgroup quota.
pub fn usable_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Raises this process's limit of open files as far as it may, and returns it.
pub fn raise_open_files_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_refused) => limit.current,
    };
    current.unwrap_or(u64::MAX)
}

/// What a failed accept calls for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcceptRetry {
    /// This one connection is gone; accept the next.
    AtOnce,
    /// No file descriptor, buffer or memory is free; an immediate retry would spin.
    AfterPause,
}

/// Decides what to do after a failed accept (accept(2), "Error handling").
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
pub fn accept_retry(error: &io::Error) -> AcceptRetry {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::Interrupted
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::TimedOut => AcceptRetry::AtOnce,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM and whatever else: never a hot loop.
        _ => AcceptRetry::AfterPause,
    }
}

/// The growing pause of an accept loop that finds no free file descriptor.
#[derive(Debug, Default)]
pub struct AcceptPause {
    pauses: u32,
}

impl AcceptPause {
    /// The next pause: 5 ms, doubled each time, 1 s at most.
    pub fn next_pause(&mut self) -> Duration {
        let pause = PAUSE_MIN
            .saturating_mul(1 << self.pauses.min(16))
            .min(PAUSE_MAX);
        self.pauses = self.pauses.saturating_add(1);
        pause
    }

    /// Whether no pause was taken since the last success.
    pub fn is_first(&self) -> bool {
        self.pauses == 0
    }

    /// Forgets the pauses after a success; returns how many there were.
    pub fn reset(&mut self) -> u32 {
        std::mem::take(&mut self.pauses)
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections that the kernel holds until they are accepted. It caps this by `somaxconn`.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut pause = AcceptPause::default();
        let pauses: Vec<u128> = (0..10).map(|_| pause.next_pause().as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(pause.reset(), 10);
        assert_eq!(pause.next_pause().as_millis(), 5);
    }

    #[test]
    fn a_port_that_is_in_use_is_refused_even_by_our_own_sockets() {
        let workers = NonZeroUsize::new(2).unwrap();
        let first = bind_for_workers("redirect", "127.0.0.1:0".parse().unwrap(), workers).unwrap();
        let addr = first[0].local_addr().unwrap();
        assert!(
            first
                .iter()
                .all(|listener| listener.local_addr().unwrap() == addr)
        );
        let error = bind_for_workers("redirect", addr, workers).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot listen on {addr} for redirect: ")),
            "{error}"
        );
    }
}
