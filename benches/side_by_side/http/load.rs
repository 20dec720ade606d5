//! One measured run of wrk or h2load against one server.

use std::error::Error;

use crate::{
    h2load::{self, Spread},
    http::{
        backends::Body,
        setup::Protocol,
        wrk::{self, Clients},
    },
    rounds::Figure,
    server::Server,
};

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// wrk: each connection asks for the body again and again.
    Http1 { clients: Clients, body: Body },
    /// h2load: each stream asks for the body again and again.
    Http2 { spread: Spread, body: Body },
}

impl Load {
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Http1 { .. } => Protocol::Http1,
            Self::Http2 { .. } => Protocol::Http2,
        }
    }

    pub fn body(self) -> Body {
        match self {
            Self::Http1 { body, .. } | Self::Http2 { body, .. } => body,
        }
    }

    /// Requests at a time.
    pub fn in_flight(self) -> u32 {
        match self {
            Self::Http1 { clients, .. } => clients.connections,
            Self::Http2 { spread, .. } => spread.connections * spread.streams,
        }
    }
}

/// What a load generator counted.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub requests: f64,
    /// All that came back, with the part of responses that the end of the run cut off.
    pub bytes: f64,
    pub seconds: f64,
}

/// Measures a server that has been warmed up by a second of the same load: its tables, its
/// connections to the backends and the CPU's caches.
pub fn run(server: &Server, load: Load, seconds: u32) -> Result<Figure, Box<dyn Error>> {
    send(server, load, 1)?;
    run_warm(server, load, seconds)
}

pub fn run_warm(server: &Server, load: Load, seconds: u32) -> Result<Figure, Box<dyn Error>> {
    let before = server.cpu_nanos()?;
    let sent = send(server, load, seconds)?;
    let cpu_nanos = (server.cpu_nanos()? - before) as f64;
    let requests = match load.body() {
        Body::Small | Body::Page => sent.requests,
        // So few that those which the end cut off would count.
        Body::Video => sent.bytes / Body::Video.bytes() as f64,
    };
    Ok(Figure {
        per_second: sent.requests / sent.seconds,
        cpu: cpu_nanos / 1e3 / requests,
    })
}

/// # Errors
///
/// If a request failed or a body was short.
pub fn send(server: &Server, load: Load, seconds: u32) -> Result<Sent, Box<dyn Error>> {
    let url = format!("http://{}/{}", server.addr, load.body().name());
    match load {
        Load::Http2 { spread, body } => {
            let requests = h2load::run(spread, seconds, &url, &[])?;
            Ok(Sent {
                requests,
                bytes: requests * body.bytes() as f64,
                seconds: f64::from(seconds),
            })
        }
        Load::Http1 { clients, body } => {
            let sent = wrk::run(clients, seconds, &url)?;
            let least = sent.requests * body.bytes() as f64;
            if sent.requests == 0.0 || sent.bytes < least {
                let (requests, bytes) = (sent.requests, sent.bytes);
                return Err(format!("{requests} responses of {bytes} bytes in all").into());
            }
            Ok(sent)
        }
    }
}
