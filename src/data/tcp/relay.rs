//! The stage that carries bytes both ways, until both sides ended or one of them is given up.

use std::{
    future::{pending, poll_fn},
    io,
    pin::pin,
};

use crate::{
    config::OnMarkedDown,
    data::{
        relay::{End, Flow, IdleLimits, Side, carry},
        tcp::{acquire::Acquired, session::Session},
    },
    net::Transport,
    state::{Cause, SessionStats},
};

impl Session {
    /// Carries bytes until both sides ended.
    ///
    /// # Errors
    ///
    /// Why the session was given up. Both sides are reset then.
    pub(super) async fn relay(
        &self,
        client: Transport,
        unread: Vec<u8>,
        acquired: Acquired,
    ) -> Result<(), Cause> {
        let Acquired {
            in_flight,
            stream,
            marked_down,
            _file,
        } = acquired;
        let flow = &self.flow;
        let upstream = self.upstream.get();
        let mut client = End::new(client, unread, Side::Client, flow);
        let mut backend = End::new(Transport::Tcp(stream), Vec::new(), Side::Backend, flow);
        let limits = IdleLimits {
            client: self.settings.idle_timeout,
            backend: upstream.settings.idle_timeout,
            half_open: self.settings.half_open_timeout,
        };
        let stats = upstream.sessions(self.tcp.context.index);
        stats.sessions.increment();
        let context = &self.tcp.context;
        let carried = {
            let mut counted = Counted::default();
            let mut carrying = pin!(carry(context, &mut client, &mut backend, flow, limits));
            let carrying = poll_fn(|cx| {
                let polled = carrying.as_mut().poll(cx);
                counted.update(flow, stats);
                polled
            });
            let marked_down = async {
                match upstream.settings.on_marked_down {
                    OnMarkedDown::CloseSessions => {
                        in_flight.backend().stats.marked_down(marked_down).await;
                    }
                    OnMarkedDown::Keep => pending().await,
                }
            };
            tokio::select! {
                biased;
                carried = carrying => outcome(flow, &carried),
                () = marked_down => Err(Cause::MarkedDown),
            }
        };
        if carried.is_err() {
            client.reset_on_close();
            backend.reset_on_close();
        }
        carried
    }
}

fn outcome(flow: &Flow, carried: &io::Result<()>) -> Result<(), Cause> {
    match (carried, flow.broken()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(Side::Backend)) => Err(Cause::ResponseBroken),
        (Err(_), Some(Side::Client)) => Err(Cause::ClientClosed),
        (Err(_), None) => Err(Cause::IdleTimeout),
    }
}

/// What the counters know of a session.
#[derive(Debug, Default)]
struct Counted {
    received: u64,
    sent: u64,
}

impl Counted {
    /// Counts what moved since the last time, so that long sessions are seen while they last.
    fn update(&mut self, flow: &Flow, stats: &SessionStats) {
        let (received, sent) = (flow.received(), flow.sent());
        stats.received.add(received - self.received);
        stats.sent.add(sent - self.sent);
        *self = Self { received, sent };
    }
}
