//! The stage that sends the request to the backend that was acquired, and waits for the head of the
//! response.

use std::task::Poll;

use crate::{
    data::{
        exchange::{
            Exchange, Stage, Step,
            acquire::Acquired,
            clock::Wait,
            retry::{Again, Failure},
            rewrite,
        },
        fault::Fault,
        stream::{MessageStream, Pumped, StreamFault, Turn},
        upstream::{Outgoing, ResponseRead},
    },
    message::Framing,
    net::HttpVersion,
};

impl Exchange {
    /// Sends the head of the request to a backend.
    pub(super) fn begin_attempt(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        mut acquired: Acquired,
    ) -> Step {
        self.upload.restart();
        self.clock.restart(turn.now);
        let request = Outgoing {
            head: &self.request.outgoing,
            scheme: acquired.backend().name.scheme,
            body: self.request.body,
            wants_trailers: self.request.asks_for_trailers,
        };
        match acquired.connection.send_head(turn, request) {
            Ok(()) => Step::Go(Stage::Send(acquired)),
            Err(fault) => {
                let failure = self.failure(&acquired, &fault, Delivered::Nothing);
                self.after_failure(turn, client, acquired.in_flight, failure)
            }
        }
    }

    /// Sends what can be sent, and looks for the response.
    pub(super) fn poll_send(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        mut acquired: Acquired,
    ) -> Step {
        self.tell_to_go_on_when_due(turn, client);
        let uploaded = self.poll_upload(turn, client, &mut acquired);
        if let Uploaded::ClientFailed(fault) = uploaded {
            return self.give_up(turn, client, fault);
        }
        loop {
            match acquired
                .connection
                .poll_response(turn, self.request.asked.to_head)
            {
                Poll::Ready(ResponseRead::Interim) => self.pass_interim(turn, client),
                Poll::Ready(ResponseRead::Final(body)) => {
                    return self.responded(turn, client, acquired, body);
                }
                Poll::Ready(ResponseRead::Broken(fault)) => {
                    let failure = self.failure(&acquired, &fault, Delivered::Perhaps);
                    return self.after_failure(turn, client, acquired.in_flight, failure);
                }
                Poll::Ready(ResponseRead::Unreadable) => {
                    let failure = Failure::new(Fault::BadResponse, Again::No);
                    return self.after_failure(turn, client, acquired.in_flight, failure);
                }
                Poll::Pending => break,
            }
        }
        if let Uploaded::BackendFailed(fault) = uploaded {
            let failure = self.failure(&acquired, &fault, Delivered::Perhaps);
            return self.after_failure(turn, client, acquired.in_flight, failure);
        }
        self.clock.waits_for(uploaded.wait(), turn.now);
        if self.is_client_gone(turn, client) {
            return self.give_up(turn, client, Fault::ClientClosed);
        }
        Step::Wait(Stage::Send(acquired))
    }

    /// Moves the request's body towards the backend.
    pub(super) fn poll_upload(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        acquired: &mut Acquired,
    ) -> Uploaded {
        if self.upload.is_over() {
            return Uploaded::Over;
        }
        let (pumped, came) = self.upload.pump(turn, client, acquired.connection.stream());
        if came > 0 {
            self.clock.moved(came, turn.now);
        }
        match pumped {
            Pumped::Done => {
                // The time for the response begins when the request was sent.
                self.clock.restart(turn.now);
                Uploaded::Over
            }
            Pumped::AwaitsSource => Uploaded::AwaitsClient,
            Pumped::AwaitsSink => Uploaded::AwaitsBackend,
            Pumped::SourceFailed(fault) => {
                self.upload.abandon();
                Uploaded::ClientFailed(fault.into_fault())
            }
            Pumped::SinkFailed(fault) => Uploaded::BackendFailed(fault),
        }
    }

    /// Tells a client that waits for it to send its body, although the backend has not asked.
    fn tell_to_go_on_when_due(&mut self, turn: &mut Turn<'_, '_>, client: &mut MessageStream) {
        let sends_already = match client {
            MessageStream::Http1(stream) => stream.has_unread(),
            MessageStream::Http2(_) => false,
        };
        let is_due = self.upload.goes_on_at().is_some_and(|at| at <= turn.now);
        if sends_already {
            self.upload.go_on();
        } else if is_due {
            self.tell_to_go_on(turn, client);
        }
    }

    fn tell_to_go_on(&mut self, turn: &mut Turn<'_, '_>, client: &mut MessageStream) {
        if self.upload.go_on() {
            let head = &mut turn.scratch.outgoing;
            head.begin(100, b"", http::Version::HTTP_11);
            head.finish();
            client.send_interim(head);
            let _what_can_be = client.poll_flush(turn.cx);
            // The client is waited for from now on, and by a poll that registers for its bytes.
            self.clock.restart(turn.now);
            turn.cx.waker().wake_by_ref();
        }
    }

    /// Passes on an interim response. A 100 is for a client that waits for it, and an HTTP/1.0
    /// client knows none (RFC 9110 section 15.2).
    fn pass_interim(&mut self, turn: &mut Turn<'_, '_>, client: &mut MessageStream) {
        if turn.scratch.response.status() == 100 {
            return self.tell_to_go_on(turn, client);
        }
        if self.request.asked.version == http::Version::HTTP_10 {
            return;
        }
        rewrite::interim(&turn.scratch.response, &mut turn.scratch.outgoing);
        client.send_interim(&turn.scratch.outgoing);
        let _what_can_be = client.poll_flush(turn.cx);
    }

    /// Takes the head of a response, which is in the scratch buffers.
    fn responded(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        acquired: Acquired,
        body: Framing,
    ) -> Step {
        let head = &turn.scratch.response;
        let switches_to = self.request.upgrade.as_deref();
        let is_switch = switches_to.is_some_and(|protocol| head.switches_to(protocol));
        if head.status() == 101 && !is_switch {
            let failure = Failure::new(Fault::UnaskedUpgrade, Again::No);
            return self.after_failure(turn, client, acquired.in_flight, failure);
        }
        let stats = &acquired.backend().stats;
        stats.latency.record(turn.now - acquired.sent_at);
        if head.status() >= 500 {
            stats.responded_with_server_error();
        }
        match head.says_unavailable() {
            true => self.suspect(stats.responded_badly()),
            false => stats.responded(),
        }
        self.count_response(head.status(), turn.now);
        if is_switch {
            return self.switch(turn, client, acquired);
        }
        self.begin_relay(turn, client, acquired, body)
    }

    /// What a connection that failed means for the request.
    fn failure(&self, acquired: &Acquired, fault: &StreamFault, delivered: Delivered) -> Failure {
        let is_http2 = acquired.connection.version() == HttpVersion::Http2;
        let is_unprocessed = delivered == Delivered::Nothing || fault.is_unprocessed();
        let is_harmless = is_unprocessed || self.request.outgoing.is_idempotent();
        let again = match acquired.is_reused {
            _ if !is_harmless || !self.upload.can_restart() => Again::No,
            true => Again::Afresh,
            false => Again::Elsewhere,
        };
        let fault = match acquired.is_reused {
            _ if is_http2 && is_unprocessed => Fault::RefusedStream,
            // A shared connection is no stale one: each request that it loses counts.
            true if !is_http2 => Fault::StaleConnection,
            _ => Fault::NoResponse,
        };
        Failure::new(fault, again)
    }
}

/// What may have reached a backend whose connection failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delivered {
    Nothing,
    Perhaps,
}

/// How far the request's body is.
#[derive(Debug)]
pub(super) enum Uploaded {
    /// The backend has all of it, or gets nothing more.
    Over,
    AwaitsClient,
    AwaitsBackend,
    ClientFailed(Fault),
    BackendFailed(StreamFault),
}

impl Uploaded {
    fn wait(&self) -> Wait {
        match self {
            Self::AwaitsClient => Wait::Upload,
            Self::AwaitsBackend => Wait::Delivery,
            Self::Over | Self::ClientFailed(_) | Self::BackendFailed(_) => Wait::Response,
        }
    }
}
