//! The floor: the redirect method on the bare `h2` crate, with the same rule and nothing else.

use std::{cell::Cell, error::Error, num::NonZeroU64, rc::Rc};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task,
};
use weir::{
    config::ORIGIN_CLUSTER,
    proto,
    redirect::{CdnBase, OriginClusters, RedirectPolicy, Target},
};

struct State {
    policy: RedirectPolicy,
    turns: Cell<u64>,
}

pub fn serve() -> Result<(), Box<dyn Error>> {
    let state = Rc::new(State {
        policy: policy()?,
        turns: Cell::new(0),
    });
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            task::spawn_local(connection(Rc::clone(&state), stream));
        }
    })
}

pub fn policy() -> Result<RedirectPolicy, Box<dyn Error>> {
    Ok(RedirectPolicy {
        cdn: CdnBase::parse("cdn.example.com")?,
        origin_every: NonZeroU64::new(10).ok_or("zero")?,
        clusters: OriginClusters::new(&[ORIGIN_CLUSTER])?,
    })
}

async fn connection(state: Rc<State>, stream: TcpStream) {
    let mut builder = h2::server::Builder::new();
    // Larger than the crate's default of 64 KiB, so that the floor does not wait for flow control.
    builder
        .max_concurrent_streams(256)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        task::spawn_local(call(Rc::clone(&state), request, respond));
    }
}

async fn call(
    state: Rc<State>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let mut body = request.into_body();
    let mut received = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        let _closed = body.flow_control().release_capacity(data.len());
        received.extend_from_slice(&data);
    }
    let video = proto::Request::decode(received.get(5..)?).ok()?.video;
    let accepted = state.policy.accept(&video).ok()?;
    state.turns.set(state.turns.get() + 1);
    let redirect = match state.policy.target(state.turns.get()) {
        Target::Cdn => state.policy.cdn_url(&accepted),
        Target::Origin => video,
    };
    let message = proto::Response { redirect };
    let mut framed = BytesMut::with_capacity(5 + message.encoded_len());
    framed.put_u8(0);
    framed.put_u32(message.encoded_len() as u32);
    message.encode(&mut framed).ok()?;
    let mut head = Response::new(());
    head.headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut send = respond.send_response(head, false).ok()?;
    send.send_data(framed.freeze(), false).ok()?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    send.send_trailers(trailers).ok()
}

const WINDOW_BYTES: u32 = 1 << 20;
