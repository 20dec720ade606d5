//! Client connections, from the first byte to the end. Knows HTTP/1.1 and HTTP/2, limits and the
//! phases of a stop, and no service: what a request means is the service's to say.

use std::{future::poll_fn, net::IpAddr, rc::Rc};

use crate::{
    data::{connection::Connection, context::WorkerContext, service::Service},
    net::Transport,
    state::{CloseCause, Protocol},
};

mod frame_meter;
mod header_budget;
mod http1;
mod http1_ending;
mod http2;
mod http2_lifecycle;
mod http2_settings;
mod http2_socket;
mod sniff;
#[cfg(test)]
mod tests;
mod wakers;

use self::{http1::Http1Connection, sniff::sniff};

/// Serves an accepted connection to its end. Returns why it ended.
pub(in crate::data) async fn serve(
    worker: &Rc<WorkerContext>,
    service: Service,
    peer: IpAddr,
    transport: Transport,
) -> CloseCause {
    let _told = Told::of_phases(worker).await;
    run(Rc::clone(worker), service, peer, transport).await
}

async fn run(
    worker: Rc<WorkerContext>,
    service: Service,
    peer: IpAddr,
    transport: Transport,
) -> CloseCause {
    if !service.speaks_http() {
        // In a box, as it is not there for most connections.
        return Box::pin(service.serve_bytes(transport)).await;
    }
    let mut transport = transport;
    let (protocol, opening) = match sniff(&worker, &mut transport).await {
        Ok(opened) => opened,
        Err(cause) => return cause,
    };
    worker.state().stats.connections(protocol).increment();
    let connection = Rc::new(Connection::new(worker, peer));
    match protocol {
        Protocol::Http1 => {
            let mut http1 = Http1Connection::new(connection, service, transport, opening);
            poll_fn(|cx| http1.poll(cx)).await
        }
        Protocol::Http2 => Box::pin(http2::serve(connection, service, transport, opening)).await,
    }
}

/// A place among the tasks that are woken when a stop goes on.
struct Told<'a> {
    worker: &'a WorkerContext,
    key: usize,
}

impl<'a> Told<'a> {
    async fn of_phases(worker: &'a WorkerContext) -> Self {
        let key = poll_fn(|cx| std::task::Poll::Ready(worker.phases.join(cx.waker()))).await;
        Self { worker, key }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.worker.phases.leave(self.key);
    }
}
