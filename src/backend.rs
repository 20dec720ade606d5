//! `weir backend`: a small HTTP server to put behind the balancer while trying it out.

use std::{
    convert::Infallible,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::net;

/// How a test backend behaves.
#[derive(Clone, Debug, clap::Args)]
pub struct TestBackend {
    /// Port that it listens on
    #[arg(long, default_value_t = 8081)]
    pub port: u16,
    /// Address that it listens on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Name that it answers with [default: backend-PORT]
    #[arg(long)]
    pub name: Option<String>,
    /// Time before each answer but /health's, for example 100ms
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub delay: Duration,
    /// Share of answers that are a 500, from 0 to 1; /health never is
    #[arg(long, value_parser = share, default_value_t = 0.0)]
    pub fail_rate: f64,
}

impl TestBackend {
    /// A backend that works, on a port of 127.0.0.1 that the system chooses.
    pub fn named(name: &str) -> Self {
        Self {
            port: 0,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            name: Some(name.to_owned()),
            delay: Duration::ZERO,
            fail_rate: 0.0,
        }
    }

    /// Binds the port.
    ///
    /// # Errors
    ///
    /// When it cannot be bound.
    pub fn bind(&self) -> Result<std::net::TcpListener, net::BindError> {
        net::bind("the test backend", SocketAddr::new(self.host, self.port))
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    ///
    /// When the runtime cannot be set up.
    pub fn run(self, listener: std::net::TcpListener) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.serve(listener))
    }

    /// Says where it listens, and serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// When the runtime or a signal handler cannot be set up.
    pub fn run_alone(self, listener: std::net::TcpListener) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let addr = listener.local_addr()?;
            let name = self.name_at(addr.port());
            let _closed = writeln!(io::stdout(), "{name} listens on http://{addr}");
            tokio::select! {
                served = self.serve(listener) => served,
                _ = terminate.recv() => Ok(()),
                _ = interrupt.recv() => Ok(()),
            }
        })
    }

    async fn serve(self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let port = listener.local_addr()?.port();
        let name = self.name_at(port);
        let backend = Arc::new((self, name));
        let mut pause = net::AcceptPause::default();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(pause.next_pause()).await;
                continue;
            };
            pause.reset();
            let backend = Arc::clone(&backend);
            let service = service_fn(move |request| {
                let backend = Arc::clone(&backend);
                async move { Ok::<_, Infallible>(backend.0.answer(&backend.1, &request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                // A broken test connection is no news to its client.
                let _broken = connection.await;
            });
        }
    }

    fn name_at(&self, port: u16) -> String {
        let name = self.name.clone();
        name.unwrap_or_else(|| format!("backend-{port}"))
    }

    async fn answer(&self, name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/health" {
            return text(StatusCode::OK, "healthy\n".to_owned());
        }
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        if fastrand::f64() < self.fail_rate {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{name} fails as it was told\n"),
            );
        }
        text(
            StatusCode::OK,
            format!("{name} {} {}\n", request.method(), request.uri()),
        )
    }
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or("must be a number from 0 to 1")
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
