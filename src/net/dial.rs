//! Connections to backends: TCP, and TLS where the backend's scheme asks for it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::io::Errno;
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    config::Scheme,
    net::Transport,
    state::{Backend, Upstream},
};

/// What is spoken on a connection to a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialing {
    /// Whatever the backend speaks.
    Any,
    /// HTTP/1.1, which alone can switch protocols.
    Http1,
}

/// Connects to a backend at this address. Takes as long as the network lets it: the caller sets the limit.
///
/// # Errors
///
/// When there is no connection, or the backend's certificate cannot be verified.
pub async fn dial(
    addr: SocketAddr,
    backend: &Backend,
    upstream: &Upstream,
    wanted: Dialing,
) -> Result<(Transport, HttpVersion), DialError> {
    let stream = connect(addr, upstream.settings.idle_timeout).await?;
    match (backend.name.scheme, &upstream.tls) {
        (Scheme::Http | Scheme::Tcp, _) => Ok((Transport::Tcp(stream), HttpVersion::Http1)),
        (Scheme::H2c, _) => Ok((Transport::Tcp(stream), HttpVersion::Http2)),
        (Scheme::Https, Some(tls)) => {
            let name = upstream.settings.tls.server_name.as_ref();
            let name = name.unwrap_or(&backend.name.host);
            let tls = match wanted {
                Dialing::Any => Arc::clone(tls),
                Dialing::Http1 => Arc::new(http1_only(tls)),
            };
            secure(stream, tls, name).await.map_err(DialError::Tls)
        }
        (Scheme::Https, None) => Err(DialError::Tls(io::ErrorKind::Unsupported.into())),
    }
}

/// Opens a TCP connection to a backend, on which nothing is silent for longer than `idle_timeout`. Takes
/// as long as the network lets it: the caller sets the limit.
///
/// # Errors
///
/// When there is no connection.
pub async fn connect(addr: SocketAddr, idle_timeout: Duration) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect(addr).await.map_err(DialError::Connect)?;
    let _best_effort = stream.set_nodelay(true);
    // What stands still for longer is given up anyway.
    give_up_on_the_dead(&stream, idle_timeout);
    Ok(stream)
}

/// A peer that vanished without a word is noticed when it does not confirm what was sent, and on
/// quiet connections by probes, not only after the system's quarter of an hour.
pub fn give_up_on_the_dead(stream: &TcpStream, after: Duration) {
    let after = after.max(UNCONFIRMED_MIN);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(after);
    let _best_effort = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _best_effort = socket.set_tcp_user_timeout(Some(after));
}

async fn secure(
    stream: TcpStream,
    tls: Arc<ClientConfig>,
    name: &str,
) -> io::Result<(Transport, HttpVersion)> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => HttpVersion::Http2,
        Some(_) | None => HttpVersion::Http1,
    };
    Ok((Transport::TlsClient(Box::new(stream)), version))
}

fn http1_only(tls: &ClientConfig) -> ClientConfig {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

/// Why there is no connection to a backend. Nothing was sent to it.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers there.
    #[error("{0}")]
    Connect(#[source] io::Error),
    /// The peer's certificate cannot be verified, or the peer speaks no TLS.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
}

impl DialError {
    /// Whether this process lacks files, ports or buffers. It says nothing of the backend.
    pub fn is_local(&self) -> bool {
        let error = match self {
            Self::Connect(error) | Self::Tls(error) => error,
        };
        let lacks = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
        ];
        let code = error.raw_os_error();
        lacks.iter().any(|errno| code == Some(errno.raw_os_error()))
    }
}

/// What a network may lose and repair by itself.
const UNCONFIRMED_MIN: Duration = Duration::from_secs(10);
