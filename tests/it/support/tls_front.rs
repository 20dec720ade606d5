//! TLS before plain backends, with certificates of any quality.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Barrier,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The keys of an upstream that trusts this authority alone.
    pub fn trusted(&self) -> String {
        format!("    tls: {{ ca_file: \"{}\" }}\n", self.file().display())
    }

    /// A certificate for a name or an address.
    pub fn certify(&self, name: &str) -> Identity {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// The same, for a time that is over.
    pub fn certify_expired(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

/// Ends TLS and hands the bytes to a plain backend. Ends when it is dropped.
pub struct TlsFront {
    pub addr: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Before a backend that speaks HTTP/1.1.
    pub async fn http1(identity: Identity, backend: SocketAddr) -> Self {
        Self::start(identity, Some(backend), None).await
    }

    /// The same, but behind the first connection so many must wait for their handshake together.
    pub async fn http1_together(identity: Identity, backend: SocketAddr, together: usize) -> Self {
        Self::serve(identity, Some(backend), None, Some(Barrier::new(together))).await
    }

    /// Before a backend that speaks HTTP/2.
    pub async fn http2(identity: Identity, backend: SocketAddr) -> Self {
        Self::start(identity, None, Some(backend)).await
    }

    /// Before one backend for each of the protocols that ALPN names; HTTP/2 is preferred.
    pub async fn start(
        identity: Identity,
        http1: Option<SocketAddr>,
        http2: Option<SocketAddr>,
    ) -> Self {
        Self::serve(identity, http1, http2, None).await
    }

    async fn serve(
        identity: Identity,
        http1: Option<SocketAddr>,
        http2: Option<SocketAddr>,
        together: Option<Barrier>,
    ) -> Self {
        let together = Arc::new(together);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)
            .unwrap();
        let protocols = [(http2, "h2"), (http1, "http/1.1")];
        let offered = protocols.iter().filter(|(backend, _)| backend.is_some());
        config.alpn_protocols = offered.map(|(_, name)| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let handshakes = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&handshakes);
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            for index in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                let together = Arc::clone(&together);
                serving.spawn(async move {
                    if index > 0
                        && let Some(together) = &*together
                    {
                        together.wait().await;
                    }
                    let Ok(mut client) = acceptor.accept(stream).await else {
                        return;
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    let backend = match client.get_ref().1.alpn_protocol() {
                        Some(b"h2") => http2.unwrap(),
                        _ => http1.unwrap(),
                    };
                    let mut backend = TcpStream::connect(backend).await.unwrap();
                    let _either_broke = copy_bidirectional(&mut client, &mut backend).await;
                });
            }
        });
        Self {
            addr,
            handshakes,
            task,
        }
    }

    /// As the configuration writes it.
    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// Handshakes that the client went through with.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
