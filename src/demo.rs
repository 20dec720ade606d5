//! `weir demo`: what Weir does, shown on itself by real calls.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    thread,
};

use http::header;
use tempfile::TempDir;
use tokio::runtime;

use crate::{
    admin_client::{AdminError, get, reachable},
    app::App,
    backend::TestBackend,
    config::{
        BackendAddr, Config, Database, Environment, Flags, Http, Scheme, Upstream, WeightedBackend,
    },
    route::{Route, Router},
};

/// The demo's flags: a CDN, if nothing else names one.
pub fn flags(flags: Flags, environment: &Environment) -> Flags {
    if Config::load(&flags, environment).is_ok() {
        return flags;
    }
    let cdn_host = flags
        .cdn_host
        .or_else(|| Some("cdn.example.com".to_owned()));
    Flags { cdn_host, ..flags }
}

/// Three backends inside the process, and the balancer before them.
#[derive(Clone, Debug)]
pub struct Balancer {
    http: Http,
    upstream: Upstream,
    /// Holds the database of clients. Removed at the end.
    directory: Arc<TempDir>,
}

impl Balancer {
    /// Starts the backends, each on a thread of its own and a port that the system chooses.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub fn start(listen: SocketAddr) -> io::Result<Self> {
        let mut backends = Vec::new();
        for name in ["app-1", "app-2", "app-3"] {
            let backend = TestBackend::named(name);
            let listener = backend.bind().map_err(|error| error.source)?;
            let addr = BackendAddr {
                scheme: Scheme::Http,
                host: backend.host.to_string(),
                port: listener.local_addr()?.port(),
            };
            backends.push(WeightedBackend::new(addr));
            // They end with the process.
            thread::Builder::new()
                .name(format!("demo-{name}"))
                .spawn(move || backend.run(listener))?;
        }
        let upstream = Upstream::new("app", backends);
        let router = Router::new(vec![Route::everything_to(0)]);
        let http = Http::new(listen, router);
        Ok(Self {
            http,
            upstream,
            directory: Arc::new(tempfile::tempdir()?),
        })
    }

    /// Adds the balancer to a configuration that has none of its own, and a database of clients.
    #[must_use]
    pub fn added_to(&self, mut config: Config) -> Config {
        if config.http.is_empty() && config.upstreams.is_empty() {
            config.http.push(self.http.clone());
            config.upstreams.push(self.upstream.clone());
        }
        let in_directory = || Database::Sqlite(self.directory.path().join("weir.db"));
        config.database.get_or_insert_with(in_directory);
        config
    }
}

/// Makes ten calls to the redirect service from a thread of its own, and prints their answers
/// and commands to try.
pub fn show(app: &App) {
    let (Some(redirect), Some(admin)) = (app.redirect_addr(), app.admin_addr()) else {
        return;
    };
    let (redirect, admin, http) = (
        reachable(redirect),
        reachable(admin),
        app.http_addr(0).map(reachable),
    );
    // The listeners are bound, so the calls wait for the workers in the kernel's queue.
    thread::spawn(move || match ask(redirect) {
        Ok(answers) => {
            let shown = text(redirect, http, admin, &answers);
            let _unread = io::stdout().write_all(shown.as_bytes());
        }
        Err(error) => {
            let _closed = writeln!(io::stderr(), "the demo's own calls failed: {error}");
        }
    });
}

fn ask(redirect: SocketAddr) -> Result<Vec<String>, AdminError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let path = format!("/redirect?video={VIDEO}");
    runtime.block_on(async {
        let mut answers = Vec::new();
        for _ in 0..10 {
            let response = get(redirect, &path).await?;
            let location = response.headers().get(header::LOCATION);
            let location =
                location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            answers.push(location.unwrap_or_else(|| response.status().to_string()));
        }
        Ok(answers)
    })
}

fn text(
    redirect: SocketAddr,
    http: Option<SocketAddr>,
    admin: SocketAddr,
    answers: &[String],
) -> String {
    let balancer = http.map(|http| {
        format!("  curl http://{http}/        (again and again: the three backends take turns)\n")
    });
    let balancer = balancer.unwrap_or_default();
    let calls: String = answers
        .iter()
        .zip(1..)
        .map(|(answer, turn)| format!("  {turn:>2}  {answer}\n"))
        .collect();
    format!(
        "\nWeir is running. Ten players asked where to fetch\n  {VIDEO}\nand were sent to\n\n{calls}\n\
         Ask it yourself:\n\n  \
         curl -i 'http://{redirect}/redirect?video={VIDEO}'\n  \
         grpcurl -plaintext -d '{{\"video\":\"{VIDEO}\"}}' {redirect} loadBalancer.loadBalancer/Redirect\n\
         {balancer}  curl http://{admin}/metrics\n  \
         curl -X POST http://{admin}/api/v1/clients -H 'Content-Type: application/json' \
         -d '{{\"client_id\":\"127.0.0.1\",\"capacity\":3,\"rate_per_sec\":1}}'   (a limit for yourself)\n  \
         curl '{admin}/api/v1/explain?video={VIDEO}'\n\nCtrl-C stops it.\n\n"
    )
}

const VIDEO: &str = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8";
