//! HTTP/2 heads that are too large, beside streams that go on.

use http::Request;

use crate::support::{
    GrpcClient, TestApp, eventually, gated,
    raw_http2::{GET, Outcome, RawHttp2, headers},
    read, start_balancer,
};

const HEAD_LIMIT: &str = "weir_http_faults_total{cause=\"head_limit\"}";
const RESOURCE_EXHAUSTED: i32 = 8;

/// What becomes of a head of about so many bytes, and whether a stream that was open before goes
/// on. The fields have 1,000 bytes each, or one has them all.
async fn outcomes(bytes: usize, is_one_field: bool) -> (Outcome, Outcome, TestApp) {
    let (backend, gate) = gated("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    client.send(&headers(1, true, &GET)).await;
    eventually("the first arrives", async || backend.requests().len() == 1).await;
    let (count, length) = match is_one_field {
        true => (1, bytes),
        false => (bytes / 1000, 1000 - 33),
    };
    let value = "b".repeat(length);
    let mut fields = GET.to_vec();
    fields.extend((0..count).map(|_| ("a", value.as_str())));
    client.send_head(3, &fields).await;
    let too_large = client.outcome(3).await;
    gate.add_permits(1);
    let other = match too_large {
        Outcome::GoAway(_) | Outcome::Closed => too_large,
        _ => client.outcome(1).await,
    };
    assert_eq!(backend.requests().len(), 1);
    (too_large, other, app)
}

#[tokio::test]
async fn a_head_over_the_limit_costs_its_stream_alone() {
    let mut wrong = Vec::new();
    for bytes in [50_000, 64_000, 100_000, 150_000, 190_000] {
        for is_one_field in [false, true] {
            let (too_large, other, app) = outcomes(bytes, is_one_field).await;
            let counted = app.metric(HEAD_LIMIT).await;
            let seen = (too_large, other, counted);
            if seen != (Outcome::Status(431), Outcome::Status(200), 1) {
                wrong.push(format!("{bytes} {is_one_field}: {seen:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// It may end the connection, but not silently, and no backend sees any of it.
#[tokio::test]
async fn a_head_far_over_the_limit_is_refused() {
    let mut seen = Vec::new();
    for bytes in [200_000, 250_000, 400_000, 1_000_000] {
        let (too_large, other, app) = outcomes(bytes, false).await;
        seen.push((bytes, too_large, other, app.metric(HEAD_LIMIT).await));
    }
    for (bytes, too_large, ..) in seen {
        assert!(
            matches!(too_large, Outcome::Status(431) | Outcome::GoAway(1..)),
            "{bytes}: {too_large:?}"
        );
    }
}

#[tokio::test]
async fn a_grpc_head_over_the_limit_is_resource_exhausted() {
    let (backend, _gate) = gated("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let client = GrpcClient::connect(app.http.unwrap()).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let request = Request::post("http://web.example/any.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("a", "b".repeat(60_000));
    let (response, _sending) = requests
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let answer = read(response.await.unwrap()).await.unwrap();
    let seen = (answer.http_status, answer.code());
    assert_eq!(seen, (200, RESOURCE_EXHAUSTED), "{answer:?}");
    assert_eq!(app.metric(HEAD_LIMIT).await, 1);
    assert_eq!(backend.connections(), 0);
}
