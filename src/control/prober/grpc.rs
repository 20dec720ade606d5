//! Asks a backend by the gRPC health checking protocol.

use bytes::{BufMut as _, BytesMut};
use http::{Request, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use prost::Message as _;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use crate::{
    control::prober::{
        ProbeFailure, Prober,
        http::{USER_AGENT, ask},
    },
    net::HttpVersion,
};

impl Prober {
    /// Asks by the gRPC health checking protocol, version 1.
    pub(super) async fn ask_grpc(&self, service: &str) -> Result<(), ProbeFailure> {
        let (stream, _) = self.dial().await?;
        let question = HealthCheckRequest {
            service: service.to_owned(),
        };
        let mut framed = BytesMut::with_capacity(GRPC_PREFIX_BYTES + question.encoded_len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(question.encoded_len()).unwrap_or(u32::MAX));
        framed.put_slice(&question.encode_to_vec());
        let version = HttpVersion::Http2;
        let authority = self.backend.name.authority();
        let url = self.url(&authority, "/grpc.health.v1.Health/Check");
        let request = Request::post(url)
            .version(Version::HTTP_2)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::new(framed.freeze()))
            .map_err(|_source| ProbeFailure::Malformed)?;
        let response = ask(stream, version, request).await?;
        let (head, body) = response.into_parts();
        let whole = Limited::new(body, GRPC_ANSWER_BYTES_MAX).collect().await;
        let whole = whole.map_err(|_source| ProbeFailure::Malformed)?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let status = trailers
            .get("grpc-status")
            .or_else(|| head.headers.get("grpc-status"));
        let answer = whole.to_bytes();
        let status = status.and_then(|status| status.to_str().ok());
        if status != Some("0") {
            let status = status.unwrap_or("missing").to_owned();
            return Err(ProbeFailure::GrpcStatus(status));
        }
        let answer = answer
            .get(GRPC_PREFIX_BYTES..)
            .and_then(|message| HealthCheckResponse::decode(message).ok())
            .ok_or(ProbeFailure::Malformed)?;
        match answer.status() {
            ServingStatus::Serving => Ok(()),
            ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                Err(ProbeFailure::NotServing(answer.status().as_str_name()))
            }
        }
    }
}

const GRPC_PREFIX_BYTES: usize = 5;
const GRPC_ANSWER_BYTES_MAX: usize = 4096;
