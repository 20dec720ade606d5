use super::{testing::NameServer, *};

/// A resolver of a machine in `machine.test` with these search domains.
fn resolver_searching(server: &NameServer, search: &[&str]) -> Resolver {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let search = search.iter().copied().map(name).collect();
    let servers = vec![name_server(server.addr)];
    let config = ResolverConfig::from_parts(Some(name("machine.test")), search, servers);
    let mut options = ResolverOpts::default();
    options.ndots = 2;
    let resolver = build(as_libc_searches(config), options).unwrap();
    Resolver::always(Dns::Servers(Box::new(resolver)))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn check(answer: Result<Answer, ResolveError>, addrs: &[&str], valid_for: Duration) {
    let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    assert_eq!(answer.unwrap(), Answer { addrs, valid_for });
}

#[tokio::test]
async fn both_families_are_asked_and_the_least_time_to_live_counts() {
    let server = NameServer::start().await;
    let answer = server.resolver().lookup("both.test").await;
    check(
        answer,
        &["192.0.2.1", "192.0.2.2", "2001:db8::1"],
        seconds(30),
    );
    assert_eq!(server.asked(), ["both.test. A", "both.test. AAAA"]);
}

#[tokio::test]
async fn times_to_live_are_clamped() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    check(
        resolver.lookup("short.test").await,
        &["192.0.2.1"],
        seconds(1),
    );
    check(
        resolver.lookup("long.test").await,
        &["192.0.2.1"],
        seconds(300),
    );
}

#[tokio::test]
async fn an_alias_is_followed_and_its_time_to_live_counts() {
    let server = NameServer::start().await;
    let answer = server.resolver().lookup("alias.test").await;
    check(answer, &["192.0.2.9"], seconds(20));
}

#[tokio::test]
async fn each_lookup_asks_again() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    for _ in 0..2 {
        resolver.lookup("long.test").await.unwrap();
        resolver.lookup("none.test").await.unwrap_err();
    }
    assert_eq!(server.asked().len(), 8);
}

#[tokio::test]
async fn a_host_without_addresses_is_not_found() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    for host in ["none.test", "empty.test"] {
        let error = resolver.lookup(host).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotFound), "{host}: {error:?}");
    }
}

#[tokio::test]
async fn a_failing_server_is_an_error() {
    let server = NameServer::start().await;
    let error = server.resolver().lookup("broken.test").await.unwrap_err();
    assert!(matches!(error, ResolveError::Dns(_)), "{error:?}");
}

#[tokio::test]
async fn a_name_that_cannot_be_is_an_error() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    for host in ["a b", "a..b", &"a".repeat(64)] {
        resolver.lookup(host).await.unwrap_err();
    }
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn silence_ends_in_time() {
    let server = NameServer::start().await;
    let resolver = server.resolver();
    let lookup = timeout(LOOKUP_TIME_MAX + seconds(1), resolver.lookup("silent.test"));
    let error = lookup.await.expect("has a limit").unwrap_err();
    assert!(matches!(error, ResolveError::Timeout), "{error:?}");
}

#[tokio::test]
async fn a_family_that_is_never_answered_does_not_hide_the_other() {
    let server = NameServer::start().await;
    let answer = server.resolver().lookup("one_family.test").await;
    check(answer, &["192.0.2.1"], seconds(60));
}

#[tokio::test]
async fn of_a_thousand_addresses_256_are_taken() {
    let server = NameServer::start().await;
    let answer = server.resolver().lookup("many.test").await.unwrap();
    let expected: Vec<IpAddr> = (0..=255).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    assert_eq!(answer.addrs, expected);
}

#[tokio::test]
async fn search_domains_are_tried_as_libc_does() {
    let server = NameServer::start().await;
    let resolver = resolver_searching(&server, &["search.test.", "other.test."]);
    let found = resolver.lookup("web").await;
    check(found, &["192.0.2.1"], seconds(60));
    assert_eq!(
        server.asked(),
        ["web.search.test. A", "web.search.test. AAAA"]
    );
    let found = resolver.lookup("svc").await;
    check(found, &["192.0.2.1"], seconds(60));
    let absolute = resolver.lookup("svc.").await;
    absolute.unwrap_err();
}

#[tokio::test]
async fn the_domain_of_the_machine_is_searched_only_where_no_other_is() {
    let server = NameServer::start().await;
    let resolver = resolver_searching(&server, &[]);
    resolver.lookup("my_app").await.unwrap();
    assert_eq!(
        server.asked(),
        ["my_app.machine.test. A", "my_app.machine.test. AAAA"]
    );
}

#[tokio::test]
async fn an_ip_literal_needs_no_server() {
    let resolver = Resolver::with_nameserver("127.0.0.1:1".parse().unwrap()).unwrap();
    for literal in ["192.0.2.7", "2001:db8::7"] {
        check(resolver.lookup(literal).await, &[literal], seconds(300));
    }
}

#[tokio::test]
async fn localhost_needs_no_server() {
    let loopback = |answer: &Answer| answer.addrs.iter().all(IpAddr::is_loopback);
    let nobody = Resolver::with_nameserver("127.0.0.1:1".parse().unwrap()).unwrap();
    let system = Resolver::from_system();
    let libc = Resolver::always(Dns::Libc);
    for resolver in [nobody, system, libc] {
        let answer = resolver.lookup("localhost").await.unwrap();
        assert!(loopback(&answer), "{answer:?}");
    }
}

#[tokio::test]
async fn libc_answers_for_a_fixed_time() {
    let answer = ask_libc("localhost").await.unwrap();
    assert!(answer.addrs.iter().all(IpAddr::is_loopback));
    assert_eq!(answer.valid_for, seconds(30));
}

#[test]
fn hosts_files_are_read_as_libc_does() {
    let hosts = "# comment\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # x\n\
                 10.0.0.1 Web web.test #hidden\nnonsense web\n10.0.0.2 web\n10.0.0.3\n";
    let check = |host: &str, expected: &[&str]| {
        let found = addrs_in_hosts(hosts, host);
        let expected: Vec<IpAddr> = expected.iter().map(|addr| addr.parse().unwrap()).collect();
        assert_eq!(found, expected, "{host}");
    };
    check("localhost", &["127.0.0.1", "::1"]);
    check("WEB", &["10.0.0.1", "10.0.0.2"]);
    check("web.test.", &["10.0.0.1"]);
    for host in ["hidden", "we", "10.0.0.3", ""] {
        check(host, &[]);
    }
}

/// A container's name servers change when it joins another network.
#[test]
fn other_settings_of_the_system_are_followed() {
    let resolver = Resolver {
        dns: Mutex::new(Arc::new(Dns::Libc)),
        settings: Some(Mutex::new("nameserver 192.0.2.1".to_owned())),
    };
    let servers = || Arc::as_ptr(&resolver.dns.lock().unwrap());
    let before = servers();
    resolver.follow_settings("nameserver 192.0.2.1".to_owned());
    assert_eq!(servers(), before);
    resolver.follow_settings("nameserver 192.0.2.2".to_owned());
    assert_ne!(servers(), before);
}
