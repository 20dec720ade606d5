//! Limits of requests per client: what is admitted, and how a refused client is told.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::task::JoinSet;

use crate::support::{
    FakeBackend, GrpcClient, KeptClient, TestApp, VIDEO, framed_call, grpc_request, http1,
};

/// No token comes back while a test runs.
const SLOW: &str = "rate_per_sec: 0.001";

fn balancer(top: &str, listener: &str, routes: &str, url: SocketAddr) -> String {
    format!(
        "{top}\nhttp:\n  - listen: 127.0.0.1:0\n    {listener}\n    routes: [{routes}]\nupstreams:\n  app: {{ backends: [\"http://{url}\"] }}\n"
    )
}

async fn start(top: &str, listener: &str, routes: &str) -> (TestApp, FakeBackend) {
    let backend = FakeBackend::replying("fine").await;
    let app = TestApp::start("", &balancer(top, listener, routes, backend.addr));
    (app, backend)
}

async fn get(addr: SocketAddr, target: &str, more: &str) -> (u16, String, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n");
    let (head, body) = http1(addr, &request).await;
    (head[9..12].parse().unwrap(), head, body)
}

async fn statuses(app: &TestApp, target: &str, more: &str, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(get(app.http.unwrap(), target, more).await.0);
    }
    statuses
}

#[tokio::test]
async fn a_client_gets_its_burst_and_is_told_when_to_come_back() {
    let limit = "rate_limit: { capacity: 3, rate_per_sec: 0.1 }";
    let (app, backend) = start(limit, "", "{ path: /, upstream: app }").await;
    assert_eq!(statuses(&app, "/", "", 3).await, [200; 3]);
    let (status, head, body) = get(app.http.unwrap(), "/", "X-Request-ID: abc\r\n").await;
    assert_eq!(status, 429);
    assert_eq!(body, r#"{"code":429,"message":"rate limit exceeded"}"#);
    for field in [
        "content-type: application/json",
        "cache-control: no-store",
        "x-request-id: abc",
        "retry-after: 10",
        "ratelimit: \"default\";r=0;t=10",
        "ratelimit-policy: \"default\";q=3;w=30",
    ] {
        assert!(head.contains(&format!("{field}\r\n")), "{field} in {head}");
    }
    assert_eq!(backend.heads().len(), 3);
    let refused = r#"weir_rate_limited_total{limit="default",mode="enforce"}"#;
    assert_eq!(app.metric(refused).await, 1);
    assert_eq!(
        app.metric(r#"weir_http_faults_total{cause="rate_limited"}"#)
            .await,
        1
    );
    assert_eq!(
        app.metric(r#"weir_rate_limit_clients{kind="unregistered"}"#)
            .await,
        1
    );
}

#[tokio::test]
async fn a_refused_client_keeps_its_connection() {
    let limit = format!("rate_limit: {{ capacity: 1, {SLOW} }}");
    let (app, _backend) = start(&limit, "", "{ path: /, upstream: app }").await;
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    for expected in [200, 429, 429] {
        assert_eq!(client.get("/").await.status, expected);
    }
}

#[tokio::test]
async fn all_limits_must_admit_and_a_refusal_takes_from_none() {
    let top = format!("rate_limit: {{ capacity: 6, {SLOW} }}");
    let listener = format!("rate_limit: {{ capacity: 5, {SLOW} }}");
    let routes = format!(
        "{{ path: /, upstream: app }}, {{ path: /few, upstream: app, rate_limit: {{ capacity: 2, {SLOW} }} }}"
    );
    let (app, _backend) = start(&top, &listener, &routes).await;
    assert_eq!(
        statuses(&app, "/few", "", 5).await,
        [200, 200, 429, 429, 429]
    );
    // The route's refusals have taken nothing from the listener's five.
    assert_eq!(statuses(&app, "/", "", 5).await, [200, 200, 200, 429, 429]);
    // And the listener's have taken nothing from the client's six.
    for (limit, expected) in [("route", 3), ("listener", 2), ("default", 0)] {
        let refused = format!("weir_rate_limited_total{{limit=\"{limit}\",mode=\"enforce\"}}");
        assert_eq!(app.metric(&refused).await, expected, "{limit}");
    }
}

#[tokio::test]
async fn a_route_has_its_price_or_is_free() {
    let top = format!("rate_limit: {{ capacity: 10, {SLOW} }}");
    let routes = "{ path: /, upstream: app }, { path: /search, upstream: app, rate_limit: { cost: 4 } }, { path: /free, upstream: app, rate_limit: off }";
    let (app, _backend) = start(&top, "", routes).await;
    assert_eq!(statuses(&app, "/free", "", 20).await, [200; 20]);
    assert_eq!(statuses(&app, "/search", "", 3).await, [200, 200, 429]);
    assert_eq!(statuses(&app, "/", "", 3).await, [200, 200, 429]);
}

#[tokio::test]
async fn shadow_counts_and_lets_pass() {
    let top = format!("rate_limit: {{ capacity: 2, {SLOW}, mode: shadow }}");
    let (app, backend) = start(&top, "", "{ path: /, upstream: app }").await;
    assert_eq!(statuses(&app, "/", "", 5).await, [200; 5]);
    assert_eq!(backend.heads().len(), 5);
    let passed = r#"weir_rate_limited_total{limit="default",mode="shadow"}"#;
    assert_eq!(app.metric(passed).await, 3);
}

#[tokio::test]
async fn clients_are_told_apart_by_their_address_as_proxies_say() {
    let top = format!("rate_limit: {{ capacity: 2, {SLOW} }}");
    let (app, _backend) = start(&top, "", "{ path: /, upstream: app }").await;
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    for address in ["10.0.0.1", "10.0.0.2"] {
        assert_eq!(
            statuses(&app, "/", &from(address), 3).await,
            [200, 200, 429]
        );
    }
    // A host chooses its addresses from a /64.
    assert_eq!(statuses(&app, "/", &from("2001:db8::1"), 2).await, [200; 2]);
    assert_eq!(statuses(&app, "/", &from("2001:db8::2"), 1).await, [429]);
    assert_eq!(
        statuses(&app, "/", &from("2001:db8:0:1::2"), 1).await,
        [200]
    );

    // The peer is no proxy, so it is the client, whatever it says.
    let (app, _backend) = start(&top, "trusted_proxies: []", "{ path: /, upstream: app }").await;
    assert_eq!(statuses(&app, "/", &from("10.0.0.1"), 2).await, [200; 2]);
    assert_eq!(statuses(&app, "/", &from("10.0.0.2"), 1).await, [429]);
}

#[tokio::test]
async fn a_limited_redirect_call_takes_no_turn() {
    let top = format!("rate_limit: {{ capacity: 15, {SLOW} }}");
    let app = TestApp::start("  origin_every: 10\n", &top);
    let client = GrpcClient::connect(app.redirect).await;
    let mut codes = BTreeMap::<i32, usize>::new();
    let mut origins = 0;
    for _ in 0..40 {
        let answer = client.redirect(VIDEO).await;
        *codes.entry(answer.code()).or_default() += 1;
        origins += usize::from(answer.code() == 0 && answer.address() == VIDEO);
    }
    assert_eq!(codes, BTreeMap::from([(0, 15), (8, 25)]));
    assert_eq!(origins, 1);
    // The second face shares the bucket.
    let (status, head, body) = get(app.redirect, &format!("/redirect?video={VIDEO}"), "").await;
    assert_eq!(
        (status, &*body),
        (429, r#"{"code":429,"message":"rate limit exceeded"}"#)
    );
    assert!(head.contains("retry-after: 1000\r\n"), "{head}");
    let json = format!("{{\"video\":\"{VIDEO}\"}}");
    let post = format!(
        "POST /redirect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    assert!(
        http1(app.redirect, &post)
            .await
            .0
            .starts_with("HTTP/1.1 429 ")
    );
    assert_eq!(
        app.metric(r#"weir_redirect_rejected_total{reason="rate_limited"}"#)
            .await,
        27
    );
}

#[tokio::test]
async fn a_grpc_client_gets_details_and_health_is_not_limited() {
    let app = TestApp::start("  rate_limit: { capacity: 1, rate_per_sec: 0.5 }\n", "");
    let client = GrpcClient::connect(app.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    let refused = client.redirect(VIDEO).await;
    assert_eq!(
        (refused.code(), &*refused.message()),
        (8, "rate limit exceeded")
    );
    let status = tonic::Status::from_header_map(&refused.headers).unwrap();
    let details = tonic_types::StatusExt::get_error_details(&status);
    let retry = details.retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(retry.as_secs(), 2);
    let violation = &details.quota_failure().unwrap().violations[0];
    assert_eq!(violation.subject, "limit:listener");
    assert_eq!(refused.headers["grpc-retry-pushback-ms"], "2000");
    for _ in 0..5 {
        let check = grpc_request("/grpc.health.v1.Health/Check");
        let answer = client
            .try_call(check, vec![crate::support::framed(0, 0, b"")])
            .await;
        assert_eq!(answer.unwrap().code(), 0);
    }
    // Calls that tonic decodes come under the limit, too.
    let mut compressed = grpc_request("/loadBalancer.loadBalancer/Redirect");
    compressed
        .headers_mut()
        .insert("grpc-encoding", "gzip".parse().unwrap());
    let answer = client
        .try_call(compressed, vec![framed_call(VIDEO)])
        .await
        .unwrap();
    assert_eq!(answer.code(), 8);
}

#[tokio::test]
async fn a_proxy_says_which_client_a_call_is_of() {
    let app = TestApp::start(&format!("  rate_limit: {{ capacity: 1, {SLOW} }}\n"), "");
    let client = GrpcClient::connect(app.redirect).await;
    let mut codes = Vec::new();
    for address in ["10.0.0.1", "10.0.0.1", "10.0.0.2"] {
        let mut request = grpc_request("/loadBalancer.loadBalancer/Redirect");
        request
            .headers_mut()
            .insert("x-forwarded-for", address.parse().unwrap());
        let answer = client
            .try_call(request, vec![framed_call(VIDEO)])
            .await
            .unwrap();
        codes.push(answer.code());
    }
    assert_eq!(codes, [0, 8, 0]);
}

#[tokio::test]
async fn a_reload_keeps_what_is_used() {
    let top = |capacity: u32| format!("rate_limit: {{ capacity: {capacity}, {SLOW} }}");
    let (app, backend) = start(&top(3), "", "{ path: /, upstream: app }").await;
    assert_eq!(statuses(&app, "/", "", 4).await, [200, 200, 200, 429]);
    let route = "{ path: /, upstream: app }, { path: /new, upstream: app }";
    app.rewrite("", &balancer(&top(3), "", route, backend.addr));
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 1)
        .await;
    assert_eq!(statuses(&app, "/new", "", 1).await, [429]);
    app.rewrite("", &balancer("", "", route, backend.addr));
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 2)
        .await;
    assert_eq!(statuses(&app, "/new", "", 5).await, [200; 5]);
}

/// To the request, over workers and connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_get_what_one_would() {
    let top = format!("rate_limit: {{ capacity: 1000, {SLOW} }}");
    let (app, _backend) = start(&top, "", "{ path: /, upstream: app }").await;
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let addr = app.http.unwrap();
        clients.spawn(async move {
            let mut client = KeptClient::connect(addr).await;
            let mut admitted = 0;
            for _ in 0..200 {
                admitted += usize::from(client.get("/").await.status == 200);
            }
            admitted
        });
    }
    assert_eq!(clients.join_all().await.iter().sum::<usize>(), 1000);
}
