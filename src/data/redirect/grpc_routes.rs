//! The gRPC services as tonic serves them: the redirect service's unusual calls, health and
//! reflection.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower_service::Service as _;

use crate::{
    data::redirect::{Engine, message::MESSAGE_BYTES_MAX},
    proto::{DESCRIPTOR, load_balancer_server::LoadBalancerServer},
};

/// The gRPC services of one worker.
#[derive(Clone)]
pub struct GrpcRoutes(Routes);

impl GrpcRoutes {
    /// Builds the services around an engine.
    pub fn new(engine: Engine, health: HealthServer<HealthService>) -> Self {
        let router = tonic::service::Routes::from(axum::Router::new().fallback(unknown));
        let mut redirect =
            LoadBalancerServer::new(engine).max_decoding_message_size(MESSAGE_BYTES_MAX);
        for encoding in ENCODINGS.iter().copied() {
            redirect = redirect
                .accept_compressed(encoding)
                .send_compressed(encoding);
        }
        let health = health.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let routes = router.add_service(redirect).add_service(health);
        Self(with_reflection(routes).prepare())
    }

    /// Passes a request to the service that its path names.
    pub(super) fn call<B>(&self, request: Request<B>) -> RoutesFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // A clone of two pointers; the router wants `&mut self` and never waits for readiness.
        RoutesFuture(Box::new(self.0.clone().call(request)))
    }
}

impl fmt::Debug for GrpcRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrpcRoutes").finish_non_exhaustive()
    }
}

fn with_reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder()
        .build_v1()
        .expect("compiled-in descriptors are valid");
    // Older grpcurl and ghz know only this one.
    let v1alpha = builder()
        .build_v1alpha()
        .expect("compiled-in descriptors are valid");
    routes
        .add_service(v1.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(v1alpha.max_decoding_message_size(MESSAGE_BYTES_MAX))
}

async fn unknown(uri: http::Uri) -> Response<tonic::body::Body> {
    let message = format!("no such service or method: {}", uri.path());
    tonic::Status::unimplemented(message).into_http()
}

/// The health service and the handle that the drain turns it red with. Serving from the start
/// for `""` and for the redirect service.
pub async fn health_service() -> (HealthReporter, HealthServer<HealthService>) {
    let reporter = HealthReporter::new();
    reporter.set_serving::<LoadBalancerServer<Engine>>().await;
    let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    (reporter, service)
}

/// The answer of a routed request. Boxed: it is large, rare, and stands where plain calls pass.
pub(in crate::data) struct RoutesFuture(
    Box<<Routes as tower_service::Service<Request<tonic::body::Body>>>::Future>,
);

impl Future for RoutesFuture {
    type Output = Result<Response<tonic::body::Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for RoutesFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoutesFuture").finish_non_exhaustive()
    }
}

/// Codings of messages that are taken and sent.
const ENCODINGS: &[CompressionEncoding] = &[
    CompressionEncoding::Gzip,
    CompressionEncoding::Deflate,
    #[cfg(feature = "zstd")]
    CompressionEncoding::Zstd,
];
