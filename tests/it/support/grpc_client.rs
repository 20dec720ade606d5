//! A gRPC client on the bare `h2` crate, which lets a test send what no polite client would.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use tokio::{net::TcpStream, task::JoinHandle};
use weir::proto;

pub const VIDEO: &str = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8";

/// One HTTP/2 connection.
pub struct GrpcClient {
    pub requests: SendRequest<Bytes>,
    /// Ends with the connection, with the error that ended it.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// Everything that came back for one call.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcAnswer {
    pub http_status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl GrpcClient {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut builder = client::Builder::new();
        builder.initial_max_send_streams(100);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    /// Calls `Redirect` as every client does.
    pub async fn redirect(&self, video: &str) -> GrpcAnswer {
        self.call(framed_call(video)).await
    }

    /// Calls `Redirect` with these bytes for a body.
    pub async fn call(&self, body: Bytes) -> GrpcAnswer {
        self.try_call(grpc_request(proto::REDIRECT_PATH), vec![body])
            .await
            .unwrap()
    }

    /// Sends a request with its body in these frames.
    pub async fn try_call(
        &self,
        request: Request<()>,
        frames: Vec<Bytes>,
    ) -> Result<GrpcAnswer, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut send) = requests.send_request(request, false)?;
        let last = frames.len().saturating_sub(1);
        for (index, frame) in frames.into_iter().enumerate() {
            send.send_data(frame, index == last)?;
        }
        read(response.await?).await
    }
}

pub async fn read(response: Response<h2::RecvStream>) -> Result<GrpcAnswer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(GrpcAnswer {
        http_status: head.status.as_u16(),
        headers: head.headers,
        body: body.freeze(),
        trailers,
    })
}

impl GrpcAnswer {
    /// The gRPC status code, from wherever it stands.
    pub fn code(&self) -> i32 {
        let status = self
            .trailers
            .get("grpc-status")
            .or_else(|| self.headers.get("grpc-status"));
        status
            .expect("every call gets a status")
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The gRPC message, percent-decoded.
    pub fn message(&self) -> String {
        let message = self
            .trailers
            .get("grpc-message")
            .or_else(|| self.headers.get("grpc-message"));
        let message = message
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default();
        percent_encoding::percent_decode_str(message)
            .decode_utf8()
            .unwrap()
            .into_owned()
    }

    /// The address that the player was sent to.
    #[track_caller]
    pub fn address(&self) -> String {
        assert_eq!(self.code(), 0, "{}", self.message());
        proto::Response::decode(&self.body[5..]).unwrap().redirect
    }
}

/// A gRPC request head for a path.
pub fn grpc_request(path: &str) -> Request<()> {
    Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// An encoded request message.
pub fn message(video: &str) -> Vec<u8> {
    proto::Request {
        video: video.to_owned(),
    }
    .encode_to_vec()
}

/// A message behind a prefix.
pub fn framed(flag: u8, length: usize, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(length).unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

/// A whole, well-formed call.
pub fn framed_call(video: &str) -> Bytes {
    let message = message(video);
    framed(0, message.len(), &message)
}
