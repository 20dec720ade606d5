//! Every fault of a gRPC call gets its status, is counted by reason, and leaves the connection
//! alive.

use bytes::Bytes;
use weir::proto;

use crate::support::{
    GrpcAnswer, GrpcClient, TestApp, VIDEO, framed, framed_call, grpc_request, message, read,
};

const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;

/// Checks an answer's code and message, and that it is counted.
async fn check(app: &TestApp, answer: &GrpcAnswer, code: i32, message: &str, reason: &str) {
    assert_eq!(answer.http_status, 200);
    assert_eq!((answer.code(), answer.message().as_str()), (code, message));
    assert!(answer.body.is_empty());
    let name = format!("weir_redirect_rejected_total{{reason=\"{reason}\"}}");
    assert!(app.metric(&name).await > 0, "{name}");
}

#[tokio::test]
async fn refused_urls_name_their_fault() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for (video, code, message, reason) in [
        ("", INVALID_ARGUMENT, "video URL is empty", "empty"),
        (
            "http://s1.origin-cluster/a b",
            INVALID_ARGUMENT,
            "video URL has a space at byte 26; write it as %20",
            "space",
        ),
        (
            "http://u@s1.origin-cluster/",
            INVALID_ARGUMENT,
            "video URL has user information (an @ before the path)",
            "user_info",
        ),
        (
            "//evil/x",
            INVALID_ARGUMENT,
            "video URL must begin with http:// or https://",
            "scheme",
        ),
        (
            "http://s1.evil/",
            PERMISSION_DENIED,
            "host of the video URL must be SERVER.CLUSTER with CLUSTER from `origin_clusters`",
            "host_not_allowed",
        ),
    ] {
        check(&app, &client.redirect(video).await, code, message, reason).await;
    }
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    // Not one of the refused calls took a turn.
    assert_eq!(app.metric("weir_redirects_total{target=\"cdn\"}").await, 1);
}

#[tokio::test]
async fn messages_are_limited_to_64_kib() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let limit = 64 * 1024;
    // Tag and length of a field of this size take four bytes.
    let longest = message(&"v".repeat(limit - 4));
    assert_eq!(longest.len(), limit);
    let answer = client.call(framed(0, limit, &longest)).await;
    check(
        &app,
        &answer,
        INVALID_ARGUMENT,
        "video URL has 65532 bytes, 8192 at most are allowed",
        "too_long",
    )
    .await;
    let longer = message(&"v".repeat(limit - 3));
    let answer = client.call(framed(0, limit + 1, &longer)).await;
    check(
        &app,
        &answer,
        RESOURCE_EXHAUSTED,
        "message is longer than 65536 bytes",
        "message_too_large",
    )
    .await;
    // Announced, but never sent.
    let answer = client.call(framed(0, 1 << 31, b"")).await;
    assert_eq!(answer.code(), RESOURCE_EXHAUSTED);
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

#[tokio::test]
async fn broken_framing_is_internal_and_the_connection_lives_on() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let message = message(VIDEO);
    for body in [
        Bytes::new(),
        Bytes::from_static(b"\0\0\0"),
        framed(0, message.len() + 1, &message),
        framed(1, message.len(), &message),
        framed(2, message.len(), &message),
        framed(0, 3, b"\x0a\x05v"),
    ] {
        let answer = client.call(body.clone()).await;
        assert_eq!(answer.code(), INTERNAL, "{body:?}: {}", answer.message());
    }
    assert_eq!(
        app.metric("weir_redirect_rejected_total{reason=\"malformed_message\"}")
            .await,
        6
    );
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

#[tokio::test]
async fn text_that_is_no_utf8_is_a_bad_url() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let answer = client.call(framed(0, 5, b"\x0a\x03ab\xff")).await;
    let message = "video URL has a non-ASCII character at byte 2; percent-encode it";
    check(&app, &answer, INVALID_ARGUMENT, message, "non_ascii").await;
}

#[tokio::test]
async fn every_service_limits_its_messages() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let too_long = framed(0, 64 * 1024 + 1, b"");
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, mut send) = requests.send_request(grpc_request(path), false).unwrap();
        send.send_data(too_long, false).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        // Answered though the message is not whole; reflection ends its stream without a word.
        assert!(answer.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_request_that_never_ends_has_a_deadline_at_every_service() {
    let app = TestApp::start("  call_timeout: 100ms\n", "");
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests
        .send_request(grpc_request("/grpc.health.v1.Health/Check"), false)
        .unwrap();
    assert_eq!(
        read(response.await.unwrap()).await.unwrap().code(),
        DEADLINE_EXCEEDED
    );
}

/// The header says that nothing is compressed, so it must change nothing.
#[tokio::test]
async fn identity_encoding_has_the_same_limits() {
    let app = TestApp::start("  call_timeout: 100ms\n", "");
    let client = GrpcClient::connect(app.redirect).await;
    let request = || {
        let mut request = grpc_request(proto::REDIRECT_PATH);
        request
            .headers_mut()
            .insert("grpc-encoding", "identity".parse().unwrap());
        request
    };
    let answer = client
        .try_call(request(), vec![framed_call(VIDEO)])
        .await
        .unwrap();
    assert!(answer.address().starts_with("http://cdn.example.com/"));
    let answer = client
        .try_call(request(), vec![framed(0, 1 << 20, b"")])
        .await
        .unwrap();
    assert_eq!(answer.code(), RESOURCE_EXHAUSTED);
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests.send_request(request(), false).unwrap();
    app.until_metric("weir_calls_in_flight", 1).await;
    assert_eq!(
        read(response.await.unwrap()).await.unwrap().code(),
        DEADLINE_EXCEEDED
    );
}

#[tokio::test]
async fn an_unknown_compression_is_unimplemented() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let mut request = grpc_request(proto::REDIRECT_PATH);
    request
        .headers_mut()
        .insert("grpc-encoding", "snappy".parse().unwrap());
    let message = framed(1, 20, &[0; 20]);
    let answer = client.try_call(request, vec![message]).await.unwrap();
    assert_eq!(answer.code(), UNIMPLEMENTED, "{}", answer.message());
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

/// gRPC over HTTP2, "Requests": a unary call has one message, and a call with a second one is not counted.
#[tokio::test]
async fn a_second_message_is_refused() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let short = framed(0, message(VIDEO).len() - 1, &message(VIDEO));
    for frames in [
        vec![[framed_call(VIDEO), framed_call(VIDEO)].concat().into()],
        vec![framed_call(VIDEO), framed_call(VIDEO)],
        vec![short],
    ] {
        let request = grpc_request(proto::REDIRECT_PATH);
        let answer = client.try_call(request, frames).await.unwrap();
        assert_eq!(answer.code(), INTERNAL, "{}", answer.message());
    }
    for _ in 0..9 {
        let answer = client.redirect(VIDEO).await;
        assert!(
            answer.address().starts_with("http://cdn."),
            "{}",
            answer.address()
        );
    }
    assert_eq!(client.redirect(VIDEO).await.address(), VIDEO);
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for timeout in ["", "1", "S", "-1S", "123456789S", "1s"] {
        let mut request = grpc_request(proto::REDIRECT_PATH);
        request
            .headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        let answer = client
            .try_call(request, vec![framed_call(VIDEO)])
            .await
            .unwrap();
        assert_eq!(answer.code(), INVALID_ARGUMENT, "{timeout:?}");
    }
}

#[tokio::test]
async fn unknown_services_and_methods_are_unimplemented() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for path in ["/loadBalancer.loadBalancer/Nope", "/no.Such/Redirect", "/x"] {
        let answer = client
            .try_call(grpc_request(path), vec![framed_call(VIDEO)])
            .await
            .unwrap();
        assert_eq!(answer.code(), UNIMPLEMENTED, "{path}");
    }
    assert_eq!(
        app.metric("weir_redirect_rejected_total{reason=\"unknown_method\"}")
            .await,
        3
    );
}

#[tokio::test]
async fn message_in_many_frames_is_one_message() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let frames = framed_call(VIDEO)
        .chunks(1)
        .map(Bytes::copy_from_slice)
        .collect();
    let answer = client
        .try_call(grpc_request(proto::REDIRECT_PATH), frames)
        .await
        .unwrap();
    assert_eq!(
        answer.address(),
        "http://cdn.example.com/s1/video/123/xcg2djHckad.m3u8"
    );
}

#[tokio::test]
async fn a_passed_deadline_takes_no_turn() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let with_timeout = |timeout: &'static str| {
        let mut request = grpc_request(proto::REDIRECT_PATH);
        request
            .headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        request
    };
    let answer = client
        .try_call(with_timeout("0n"), vec![framed_call(VIDEO)])
        .await
        .unwrap();
    assert_eq!(
        (answer.code(), answer.message().as_str()),
        (DEADLINE_EXCEEDED, "call took longer than 0ns")
    );

    // The message never ends.
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests.send_request(with_timeout("20m"), false).unwrap();
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.code(), answer.message().as_str()),
        (DEADLINE_EXCEEDED, "call took longer than 20ms")
    );

    assert_eq!(
        client
            .try_call(with_timeout("10S"), vec![framed_call(VIDEO)])
            .await
            .unwrap()
            .code(),
        0
    );
    assert_eq!(app.metric("weir_redirects_total{target=\"cdn\"}").await, 1);
    assert_eq!(
        app.metric("weir_redirect_rejected_total{reason=\"deadline_exceeded\"}")
            .await,
        2
    );
}

#[tokio::test]
async fn a_call_without_a_deadline_of_its_own_gets_ours() {
    let app = TestApp::start("  call_timeout: 100ms\n", "");
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.code(), answer.message().as_str()),
        (DEADLINE_EXCEEDED, "call took longer than 100ms")
    );
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

#[tokio::test]
async fn a_cancelled_call_leaves_nothing_in_flight_and_takes_no_turn() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    // Nothing of the message, a part of it, and all of it but for the end of the stream.
    for (cancelled, sent) in [(1, 0), (2, 10), (3, framed_call(VIDEO).len())] {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, mut send) = requests
            .send_request(grpc_request(proto::REDIRECT_PATH), false)
            .unwrap();
        send.send_data(framed_call(VIDEO).slice(..sent), false)
            .unwrap();
        app.until_metric("weir_calls_in_flight", 1).await;
        send.send_reset(h2::Reason::CANCEL);
        drop(response);
        app.until_metric(
            "weir_redirect_rejected_total{reason=\"cancelled\"}",
            cancelled,
        )
        .await;
        app.until_metric("weir_calls_in_flight", 0).await;
    }
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    assert_eq!(app.metric("weir_redirects_total{target=\"cdn\"}").await, 1);
    assert_eq!(
        app.metric("weir_redirect_rejected_total{reason=\"malformed_message\"}")
            .await,
        0
    );
}

/// The status that the health service gives, as its number on the wire.
async fn health(client: &GrpcClient, service: &str) -> Result<u8, i32> {
    let mut message = vec![0x0a, u8::try_from(service.len()).unwrap()];
    message.extend_from_slice(service.as_bytes());
    let request = grpc_request("/grpc.health.v1.Health/Check");
    let answer = client
        .try_call(request, vec![framed(0, message.len(), &message)])
        .await
        .unwrap();
    if answer.code() != 0 {
        return Err(answer.code());
    }
    Ok(answer.body.last().copied().unwrap())
}

#[tokio::test]
async fn health_serves_until_the_drain() {
    const SERVING: u8 = 1;
    const NOT_SERVING: u8 = 2;
    const NOT_FOUND: i32 = 5;
    let app = TestApp::start("", "drain: { lame_duck: 10s, quiet: 10s, timeout: 10s }\n");
    let client = GrpcClient::connect(app.redirect).await;
    assert_eq!(health(&client, "").await, Ok(SERVING));
    assert_eq!(health(&client, proto::SERVICE).await, Ok(SERVING));
    assert_eq!(health(&client, "no.Such").await, Err(NOT_FOUND));
    app.stop().await;
    crate::support::eventually("health is red", async || {
        health(&client, "").await == Ok(NOT_SERVING)
    })
    .await;
    assert_eq!(health(&client, proto::SERVICE).await, Ok(NOT_SERVING));
    // Readiness is red, but calls are still served.
    assert_eq!(app.readiness().await, 503);
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

/// Asks a reflection service to list services.
async fn reflection(client: &GrpcClient, version: &str) -> GrpcAnswer {
    let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
    // list_services = 7, the empty text.
    client
        .try_call(grpc_request(&path), vec![framed(0, 2, b"\x3a\x00")])
        .await
        .unwrap()
}

#[tokio::test]
async fn reflection_answers_both_versions_and_can_be_off() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for version in ["v1", "v1alpha"] {
        let answer = reflection(&client, version).await;
        assert_eq!(answer.code(), 0, "{}", answer.message());
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains("loadBalancer.loadBalancer"), "{body}");
    }
    let app = TestApp::start("  reflection: false\n", "");
    let client = GrpcClient::connect(app.redirect).await;
    for version in ["v1", "v1alpha"] {
        assert_eq!(reflection(&client, version).await.code(), UNIMPLEMENTED);
    }
}
