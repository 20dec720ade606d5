//! The PROXY protocol, by which a proxy says who its client is.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::config::ProxyProtocol;

/// The two addresses of a connection, as its proxies tell them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Addresses {
    /// Who connected.
    pub(super) client: SocketAddr,
    /// Where to.
    pub(super) local: SocketAddr,
}

/// Reads a header of version 1 or 2, and returns what came behind it. `None` for the addresses of a
/// connection that the proxy made for itself, such as a health check. Takes as long as the peer lets
/// it: the caller sets the limit.
///
/// # Errors
///
/// When there is none, or it is longer than 4 KiB.
pub(super) async fn read(
    peer: &mut (impl AsyncRead + Unpin),
) -> io::Result<(Option<Addresses>, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    loop {
        if peer.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match ProxyHeader::parse(&bytes, CONFIG) {
            Ok((header, length)) => {
                let addresses = header.proxied_address().map(Addresses::of);
                bytes.drain(..length);
                return Ok((addresses, bytes));
            }
            Err(Error::BufferTooShort) if bytes.len() < BYTES_MAX => {}
            Err(_invalid) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The header that tells a backend who the client is.
pub(super) fn write(version: ProxyProtocol, addresses: Addresses) -> Vec<u8> {
    let Addresses { client, local } = addresses.of_one_family();
    let header = ProxyHeader::with_address(ProxiedAddress::stream(client, local));
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    let encoded = match version {
        ProxyProtocol::V1 => header.encode_v1(&mut bytes),
        ProxyProtocol::V2 => header.encode_v2(&mut bytes),
    };
    debug_assert!(encoded.is_ok(), "both are of one family");
    bytes
}

impl Addresses {
    fn of(proxied: &ProxiedAddress) -> Self {
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self {
            client: canonical(proxied.source),
            local: canonical(proxied.destination),
        }
    }

    /// As IPv6 addresses, if they are not both IPv4.
    fn of_one_family(self) -> Self {
        if self.client.is_ipv4() == self.local.is_ipv4() {
            return self;
        }
        let mapped = |addr: SocketAddr| {
            let ip: Ipv6Addr = match addr.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            SocketAddr::new(ip.into(), addr.port())
        };
        Self {
            client: mapped(self.client),
            local: mapped(self.local),
        }
    }
}

const CONFIG: ParseConfig = ParseConfig {
    include_tlvs: false,
    allow_v1: true,
    allow_v2: true,
};
const USUAL_BYTES: usize = 256;
const BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(client: &str, local: &str) -> Addresses {
        Addresses {
            client: client.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    /// Reads bytes that come one by one.
    async fn read_slowly(bytes: &[u8]) -> io::Result<(Option<Addresses>, Vec<u8>)> {
        let mut peer = tokio_test_reader(bytes);
        read(&mut peer).await
    }

    fn tokio_test_reader(bytes: &[u8]) -> impl AsyncRead + Unpin {
        let (mut from, to) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            let _reader_left = tokio::io::AsyncWriteExt::write_all(&mut from, &bytes).await;
        });
        to
    }

    #[tokio::test]
    async fn what_is_written_is_read_again() {
        for (client, local) in [
            ("203.0.113.7:4711", "192.0.2.1:5433"),
            ("[2001:db8::7]:4711", "[2001:db8::1]:5433"),
            ("203.0.113.7:4711", "[2001:db8::1]:5433"),
        ] {
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let told = addresses(client, local);
                let (read, rest) = read_slowly(&write(version, told)).await.unwrap();
                assert_eq!(read, Some(told), "{version:?}");
                assert_eq!(rest, b"");
            }
        }
    }

    #[tokio::test]
    async fn what_follows_is_kept() {
        let bytes = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 5433\r\nhello";
        let (read, rest) = read(&mut &bytes[..]).await.unwrap();
        assert_eq!(read, Some(addresses("203.0.113.7:4711", "192.0.2.1:5433")));
        assert_eq!(rest, b"hello");
    }

    /// What a health check's header says of addresses counts for nothing: anyone could claim an address
    /// by it.
    #[tokio::test]
    async fn a_connection_of_the_proxy_itself_has_the_addresses_of_the_socket() {
        let mut local = b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c".to_vec();
        local.extend([203, 0, 113, 7, 192, 0, 2, 1, 0, 80, 0, 80]);
        let unknown = b"PROXY UNKNOWN\r\n".to_vec();
        let unix = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".as_slice(), &[0; 216]].concat();
        for bytes in [local, unknown, unix] {
            let (read, rest) = read_slowly(&bytes).await.unwrap();
            assert_eq!((read, rest.len()), (None, 0));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let endless = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(),
            &[0; 9000],
        ]
        .concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
            b"PROXY TCP4 999.0.0.1 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 99999\r\n",
            &[b'P'; 5000],
            &endless,
        ] {
            let refused = read(&mut &bytes[..]).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        }
        let cut = read(&mut &b"PROXY TCP4"[..]).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
