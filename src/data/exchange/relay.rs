//! The stage that moves the response's body to the client, and what is left of the request's body
//! to the backend.

use std::task::Poll;

use crate::{
    data::{
        exchange::{
            Exchange, Stage, Step,
            acquire::Acquired,
            clock::Wait,
            rewrite::{self, ResponseFor},
            send::Uploaded,
        },
        fault::Fault,
        outcome::{Ending, Outcome},
        stream::{MessageStream, Pumped, StreamFault, Turn, pump},
        upstream::UpstreamConnection,
    },
    http1::Piece,
    message::Framing,
    state::InFlight,
};

impl Exchange {
    /// Sends the head of the response to the client.
    pub(super) fn begin_relay(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        acquired: Acquired,
        body: Framing,
    ) -> Step {
        // The rest of a body that the client is still sending would be taken for a request.
        self.is_last |= self.connection.is_last_response() || !client.is_received();
        let suits = ResponseFor {
            version: self.request.asked.version,
            is_last: self.is_last,
            says_keep_alive: self.request.is_told_of_keep_alive,
        };
        let scratch = &mut *turn.scratch;
        let rules = &self.route().response_headers;
        let date = scratch.date.as_bytes();
        let (from, to) = (&scratch.response, &mut scratch.outgoing);
        let framing = rewrite::response(from, body, suits, rules, date, to);
        self.is_last |= framing == Framing::UntilEnd;
        self.ends_by_close = framing == Framing::UntilEnd;
        match client.send_response(turn, framing, self.request.gets_trailers) {
            Ok(()) => {
                if framing == Framing::Empty {
                    // The client has all of it, even if the backend has not ended yet.
                    self.settle(None);
                }
                Step::Go(Stage::Relay(acquired))
            }
            Err(_gone) => self.break_off(turn, client, Fault::ClientClosed),
        }
    }

    /// Moves what can be moved in both directions.
    pub(super) fn poll_relay(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        mut acquired: Acquired,
    ) -> Step {
        match self.poll_upload(turn, client, &mut acquired) {
            Uploaded::ClientFailed(fault) => return self.break_off(turn, client, fault),
            // The response may be complete without the rest of the request.
            Uploaded::BackendFailed(_) => self.upload.abandon(),
            Uploaded::Over | Uploaded::AwaitsClient | Uploaded::AwaitsBackend => {}
        }
        let (pumped, came) = self.poll_download(turn, client, &mut acquired.connection);
        if came > 0 {
            self.clock.moved(came, turn.now);
        }
        match pumped {
            Pumped::Done => {
                self.release(turn, acquired.in_flight, acquired.connection);
                return Step::Go(Stage::Flush);
            }
            Pumped::SourceFailed(_broken) => {
                return self.break_off(turn, client, Fault::ResponseBroken);
            }
            Pumped::SinkFailed(_gone) => return self.break_off(turn, client, Fault::ClientClosed),
            Pumped::AwaitsSource => self.clock.waits_for(Wait::Download, turn.now),
            Pumped::AwaitsSink => self.clock.waits_for(Wait::Client, turn.now),
        }
        if self.is_client_gone(turn, client) {
            return self.break_off(turn, client, Fault::ClientClosed);
        }
        Step::Wait(Stage::Relay(acquired))
    }

    fn poll_download(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        connection: &mut UpstreamConnection,
    ) -> (Pumped<StreamFault>, usize) {
        let mut came = 0;
        let mut is_ended = false;
        let backend = connection.stream();
        let pumped = pump(turn, backend, client, |piece| {
            match piece {
                Piece::Data(data) => came += data.len(),
                Piece::End(_) => is_ended = true,
            }
            Ok(())
        });
        self.is_ended |= is_ended;
        let stats = self.upstream.get().responses(self.http.worker());
        stats.sent.add(came as u64);
        if let Some(record) = &mut self.record {
            record.sent(came as u64);
        }
        // A response whose body ended with its head: nothing was pumped.
        if matches!(pumped, Pumped::Done)
            && !std::mem::replace(&mut self.is_ended, true)
            && let Err(fault) = client.send(&mut turn.outlet(), Piece::End(None))
        {
            return (Pumped::SinkFailed(fault), came);
        }
        (pumped, came)
    }

    /// Gives the backend back: its place at once, and its connection if that can carry another
    /// request.
    fn release(&self, turn: &Turn<'_, '_>, in_flight: InFlight, connection: UpstreamConnection) {
        let backend = in_flight.backend().id;
        drop(in_flight);
        // What is left of the upload must not be taken for another request by the backend.
        let UpstreamConnection::Http1(mut connection) = connection else {
            return;
        };
        if self.upload.is_sent() && connection.is_reusable() {
            self.http.pool.put(backend, connection, turn.now);
        }
    }

    /// Waits until the client took the end of the response.
    pub(super) fn poll_flush(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
    ) -> Step {
        match client.poll_flush(turn.cx) {
            Poll::Ready(Ok(())) => {
                self.settle(None);
                Step::End(self.outcome(client))
            }
            Poll::Ready(Err(_gone)) => self.break_off(turn, client, Fault::ClientClosed),
            Poll::Pending => {
                self.clock.waits_for(Wait::Client, turn.now);
                Step::Wait(Stage::Flush)
            }
        }
    }

    /// What the client's connection does after this exchange.
    pub(super) fn outcome(&self, client: &MessageStream) -> Outcome {
        if !client.is_received() {
            return Outcome::Close(Ending::Linger);
        }
        match self.is_last {
            true => Outcome::Close(Ending::Flush),
            false => Outcome::Done,
        }
    }

    /// Ends a response that cannot be completed, so that the client cannot take it for complete.
    pub(super) fn break_off(
        &mut self,
        turn: &Turn<'_, '_>,
        client: &MessageStream,
        fault: Fault,
    ) -> Step {
        self.settle(Some(&fault));
        if let MessageStream::Http2(_) = client {
            // What came before is written first: a reset throws away what is not.
            turn.cx.waker().wake_by_ref();
            return Step::Wait(Stage::BreakOff);
        }
        Step::End(Outcome::Close(match self.ends_by_close {
            true => Ending::Reset,
            false => Ending::Flush,
        }))
    }

    /// Whether a client that is not being read from has gone.
    pub(super) fn is_client_gone(
        &self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
    ) -> bool {
        // While its body is expected, a break shows there.
        client.is_received() && client.poll_gone(turn).is_ready()
    }
}
