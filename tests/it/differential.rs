//! The lean path answers as tonic does: same heads, same bytes, same trailers.
//!
//! The reference is `tonic::transport::Server` with the generated service around the same rule.
//! The three answers that the contract wants otherwise are not compared here but in `grpc.rs`:
//! a message that is too long, a deadline that passed, and a text that is not UTF-8.

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{RngSeed, TestRunner},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    transport::{Server, server::TcpIncoming},
};
use weir::{
    proto::{
        self,
        load_balancer_server::{LoadBalancer, LoadBalancerServer},
    },
    redirect::{CdnBase, OriginClusters, RedirectPolicy, Rejection, Target},
};

use crate::support::{
    GrpcAnswer, GrpcClient, TestApp, VIDEO, framed, framed_call, grpc_request, message,
};

struct Reference {
    policy: RedirectPolicy,
    turns: AtomicU64,
}

#[tonic::async_trait]
impl LoadBalancer for Reference {
    async fn redirect(
        &self,
        request: Request<proto::Request>,
    ) -> Result<Response<proto::Response>, Status> {
        let video = request.into_inner().video;
        let accepted = self
            .policy
            .accept(&video)
            .map_err(|rejection| match rejection {
                Rejection::HostNotAllowed => Status::permission_denied(rejection.to_string()),
                _ => Status::invalid_argument(rejection.to_string()),
            })?;
        let redirect = match self
            .policy
            .target(self.turns.fetch_add(1, Ordering::Relaxed) + 1)
        {
            Target::Cdn => self.policy.cdn_url(&accepted),
            Target::Origin => video,
        };
        Ok(Response::new(proto::Response { redirect }))
    }
}

async fn reference() -> SocketAddr {
    let policy = RedirectPolicy {
        cdn: CdnBase::parse("cdn.example.com").unwrap(),
        origin_every: NonZeroU64::new(10).unwrap(),
        clusters: OriginClusters::new(&["origin-cluster"]).unwrap(),
    };
    let service = LoadBalancerServer::new(Reference {
        policy,
        turns: AtomicU64::new(0),
    })
    .accept_compressed(CompressionEncoding::Gzip)
    .accept_compressed(CompressionEncoding::Deflate)
    .accept_compressed(CompressionEncoding::Zstd);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    addr
}

/// The same call to both, so that both count the same turns.
async fn both(
    clients: &[GrpcClient; 2],
    frames: Vec<Bytes>,
    headers: &[(&'static str, &'static str)],
) -> [GrpcAnswer; 2] {
    let mut answers = Vec::new();
    for client in clients {
        let mut request = grpc_request(proto::REDIRECT_PATH);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let mut answer = client.try_call(request, frames.clone()).await.unwrap();
        answer.headers.remove("date").expect("both send a date");
        answers.push(answer);
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn answers_are_tonics_byte_for_byte() {
    let app = TestApp::plain();
    let clients = [
        GrpcClient::connect(app.redirect).await,
        GrpcClient::connect(reference().await).await,
    ];
    let whole = message(VIDEO);
    let odd_bodies = [
        vec![Bytes::new()],
        vec![Bytes::from_static(b"\0")],
        vec![framed(0, 0, b"")],
        vec![framed(0, whole.len() + 1, &whole)],
        vec![framed(1, whole.len(), &whole)],
        vec![framed(2, whole.len(), &whole)],
        vec![framed(255, whole.len(), &whole)],
        vec![framed(0, 3, b"\x0a\x05v")],
        vec![framed(0, 2, b"\xff\xff")],
        // A field that is unknown, and one that is given twice.
        vec![framed(0, 4, b"\x12\x02ab")],
        vec![framed(0, 6, b"\x0a\x01a\x0a\x01b")],
        vec![framed_call(VIDEO), Bytes::new()],
    ];
    for frames in odd_bodies {
        let [lean, tonic] = both(&clients, frames.clone(), &[]).await;
        assert_eq!(lean, tonic, "{frames:?}");
    }
    let call = || vec![framed_call(VIDEO)];
    for headers in [
        &[("grpc-encoding", "gzip")][..],
        &[("grpc-encoding", "identity")],
        &[("grpc-encoding", "nonsense")],
        &[("grpc-accept-encoding", "gzip")],
        &[("content-type", "application/grpc+proto")],
        &[("grpc-timeout", "5S")],
        &[("user-agent", "x"), ("x-key", "y")],
    ] {
        let [lean, tonic] = both(&clients, call(), headers).await;
        assert_eq!(lean, tonic, "{headers:?}");
    }
    // Enough accepted calls to see the origin's turn on both.
    for _ in 0..25 {
        let [lean, tonic] = both(&clients, call(), &[]).await;
        assert_eq!(lean, tonic);
        assert_eq!(lean.code(), 0);
    }
}

#[tokio::test]
async fn any_video_is_answered_as_tonic_does() {
    let app = TestApp::plain();
    let clients = [
        GrpcClient::connect(app.redirect).await,
        GrpcClient::connect(reference().await).await,
    ];
    let videos = prop_oneof![
        any::<String>(),
        r"https?://[a-z0-9@:.%-]{0,12}(\.origin-cluster)?(:[0-9]{1,6})?/?[ -~]{0,40}",
    ];
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    for _ in 0..500 {
        let video = videos.new_tree(&mut runner).unwrap().current();
        let [lean, tonic] = both(&clients, vec![framed_call(&video)], &[]).await;
        assert_eq!(lean, tonic, "{video:?}");
    }
}
