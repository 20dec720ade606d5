//! One measured run against one server.

use std::{error::Error, fs};

use prost::Message as _;
use weir::proto;

use crate::{
    h2load::{self, Spread},
    rounds::Figure,
    server::Server,
};

pub fn run(server: &Server, spread: Spread, seconds: u32) -> Result<Figure, Box<dyn Error>> {
    let message = env!("CARGO_TARGET_TMPDIR").to_owned() + "/redirect-call.bin";
    fs::write(&message, call())?;
    let url = format!("http://{}{}", server.addr, proto::REDIRECT_PATH);
    let data = format!("--data={message}");
    let options = [
        data.as_str(),
        "--header=content-type: application/grpc",
        "--header=te: trailers",
    ];
    // A short run first: the server's tables and the CPU's caches warm up.
    h2load::run(spread, 1, &url, &options)?;
    let before = server.cpu_nanos()?;
    let calls = h2load::run(spread, seconds, &url, &options)?;
    let cpu_nanos = server.cpu_nanos()? - before;
    Ok(Figure {
        per_second: calls / f64::from(seconds),
        cpu: cpu_nanos as f64 / 1000.0 / calls,
    })
}

fn call() -> Vec<u8> {
    let video = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8".to_owned();
    let message = proto::Request { video }.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}
