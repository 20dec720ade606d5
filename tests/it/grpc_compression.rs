//! Redirect calls whose messages are compressed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use weir::proto;

use crate::support::{GrpcAnswer, GrpcClient, TestApp, VIDEO, framed, grpc_request, message};

const ENCODINGS: [&str; 3] = ["gzip", "deflate", "zstd"];
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;

fn compressed(encoding: &str, message: &[u8]) -> Bytes {
    let bytes = match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(message, 3).unwrap(),
        _ => unreachable!(),
    };
    framed(1, bytes.len(), &bytes)
}

async fn call(client: &GrpcClient, encoding: &str, message: &[u8]) -> GrpcAnswer {
    let mut request = grpc_request(proto::REDIRECT_PATH);
    let headers = request.headers_mut();
    headers.insert("grpc-encoding", encoding.parse().unwrap());
    let frames = vec![compressed(encoding, message)];
    client.try_call(request, frames).await.unwrap()
}

#[tokio::test]
async fn compressed_calls_are_answered_and_take_turns() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let mut origin = Vec::new();
    for turn in 1..=30 {
        let answer = match turn % 4 {
            0 => client.redirect(VIDEO).await,
            encoding => call(&client, ENCODINGS[encoding - 1], &message(VIDEO)).await,
        };
        if answer.address() == VIDEO {
            origin.push(turn);
        }
    }
    assert_eq!(origin, [10, 20, 30]);
}

/// The limit is that of the message, not of what was sent.
#[tokio::test]
async fn the_limit_of_a_message_holds_once_it_is_decompressed() {
    const LIMIT: usize = 64 * 1024;
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for encoding in ENCODINGS {
        // Tag and length of a field of this size take four bytes.
        let longest = message(&"v".repeat(LIMIT - 4));
        assert_eq!(longest.len(), LIMIT);
        let answer = call(&client, encoding, &longest).await;
        assert_eq!(
            answer.code(),
            INVALID_ARGUMENT,
            "{encoding}: {}",
            answer.message()
        );
        for length in [LIMIT + 1, 1 << 20, 64 << 20] {
            let bomb = message(&"v".repeat(length));
            let answer = call(&client, encoding, &bomb).await;
            let seen = (answer.code(), answer.message());
            assert_eq!(seen.0, RESOURCE_EXHAUSTED, "{encoding} {length}: {seen:?}");
        }
        assert_eq!(client.redirect(VIDEO).await.code(), 0);
    }
}
