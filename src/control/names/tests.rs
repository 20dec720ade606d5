use tokio::net::TcpListener;

use super::*;
use crate::{
    config::{Config, Environment, Flags, Scheme},
    control::resolver::testing::NameServer,
    state::{OpenFiles, RateLimits, Snapshot},
};

fn shared() -> Arc<Shared> {
    let flags = Flags {
        cdn_host: Some("cdn".to_owned()),
        ..Flags::default()
    };
    let config = Config::load(&flags, &Environment::default()).unwrap();
    let rate_limits = RateLimits::new(config.rate_limits.clients_max);
    let snapshot = Snapshot::new(&config, &rate_limits, Default::default(), Vec::new());
    Shared::new(snapshot, rate_limits, 1, None, OpenFiles::within(128))
}

/// Follows one name, and returns what it is told of it.
fn follow(
    server: &NameServer,
    host: &str,
    port: u16,
) -> (Names, BackendAddr, mpsc::Receiver<Resolved>) {
    let (sender, resolved) = mpsc::channel(8);
    let mut names = Names::new(shared(), sender);
    names.resolver = Some(Arc::new(server.resolver()));
    // What is found is to hold for the whole test.
    names.keep_for(Duration::from_secs(300));
    let backend = BackendAddr {
        scheme: Scheme::Http,
        host: host.to_owned(),
        port,
    };
    names.follow([&backend].into_iter());
    (names, backend, resolved)
}

async fn next(resolved: &mut mpsc::Receiver<Resolved>) -> Vec<String> {
    let resolved = timeout(Duration::from_secs(10), resolved.recv()).await;
    let addrs = resolved.unwrap().unwrap().addrs.unwrap();
    addrs.iter().map(ToString::to_string).collect()
}

/// A container that is created again has another address long before its old one's time to live
/// is over.
#[tokio::test]
async fn a_name_is_looked_up_again_when_its_backend_fails() {
    let server = NameServer::start().await;
    let (names, backend, mut resolved) = follow(&server, "moves.test", 80);
    assert_eq!(next(&mut resolved).await, ["192.0.2.1"]);
    names.ask_again(&backend);
    assert_eq!(next(&mut resolved).await, ["192.0.2.2"]);
}

#[tokio::test]
async fn of_both_families_the_one_that_takes_connections_is_used() {
    let server = NameServer::start().await;
    let v6 = TcpListener::bind("[::1]:0").await.unwrap();
    let port = v6.local_addr().unwrap().port();
    let (names, backend, mut resolved) = follow(&server, "local.test", port);
    assert_eq!(next(&mut resolved).await, ["::1"]);
    // The server listens on the other family from now on.
    drop(v6);
    let v4 = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    names.ask_again(&backend);
    assert_eq!(next(&mut resolved).await, ["127.0.0.1"]);
    drop(v4);
}

#[tokio::test]
async fn of_two_families_without_connections_the_one_in_use_stays() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let [v4, v6]: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    for (known, expected) in [(None, v4), (Some([v4]), v4), (Some([v6]), v6)] {
        let known = known.as_ref().map(<[IpAddr; 1]>::as_slice);
        let addrs = of_one_family(vec![v4, v6], port, known).await;
        assert_eq!(addrs, [expected]);
    }
}
