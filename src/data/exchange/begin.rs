//! The stages before the first wait: route, policies, rewrite. And how an exchange is counted at
//! its end.

use std::rc::Rc;

use tokio::time::Instant;

use crate::{
    data::{
        answer::{Asked, asks_to_be_told, asks_to_keep, options, refuse},
        connection::Connection,
        exchange::{
            Attempts, Exchange, HttpWorker, Record, Request, RetryState, Settled, Stage, Upload,
            acquire::Acquiring,
            clock::{Clock, Limits},
            policies,
            request_id::request_id_of,
            rewrite,
            route::{self, Routed},
            snapshot_for,
            upload::BodyLimit,
        },
        fault::{After, Fault},
        outcome::{CallCount, Ending, Outcome},
        stream::{MessageStream, Turn},
    },
    message::{Framing, RequestHead},
    state::Cause,
};

/// What became of a request at once.
#[derive(Debug)]
pub(in crate::data) enum Begun {
    /// It is on its way.
    Exchange(Box<Exchange>),
    /// It was answered.
    Answered(Outcome),
}

impl Exchange {
    /// Begins an exchange for the request whose head is in the scratch buffers.
    pub(in crate::data) fn begin(
        http: &Rc<HttpWorker>,
        connection: &Rc<Connection>,
        listener: usize,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        body: Framing,
    ) -> Begun {
        let head = std::mem::take(&mut turn.scratch.request);
        let mut start = Start {
            http,
            connection,
            listener,
            head: &head,
            body,
            now: turn.now,
            record: http
                .is_logged()
                .then(|| Box::new(Record::new(&head, connection.peer.ip, turn.now))),
            count: CallCount::begin(&http.context),
        };
        let begun = match start.exchange() {
            Ok(exchange) => Begun::Exchange(exchange),
            Err(fault) => Begun::Answered(start.answer(turn, client, fault)),
        };
        turn.scratch.request = head;
        begun
    }
}

/// A request of which nothing was decided yet.
struct Start<'a> {
    http: &'a Rc<HttpWorker>,
    connection: &'a Rc<Connection>,
    listener: usize,
    head: &'a RequestHead,
    body: Framing,
    now: Instant,
    record: Option<Box<Record>>,
    count: CallCount,
}

/// Why a request is answered here.
enum Refused {
    Fault(Fault),
    /// It is `OPTIONS *`.
    Options,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Start<'_> {
    /// Route, policies, rewrite.
    fn exchange(&mut self) -> Result<Box<Exchange>, Refused> {
        if self.head.is_options_asterisk() {
            return Err(Refused::Options);
        }
        let snapshot = snapshot_for(self.http, self.connection, self.listener);
        let peer = &self.connection.peer;
        let routed = route::route(&snapshot, self.listener, peer.ip, self.head)?;
        if let Some(record) = &mut self.record {
            record.routed(routed.client, routed.upstream.get().name());
        }
        policies::check(&self.http.context, &routed, self.head, self.body, self.now)?;
        let request = self.request(&routed)?;
        if let Some(record) = &mut self.record {
            record.sent_as(&request.outgoing);
        }
        Ok(self.assemble(&routed, request))
    }

    fn request(&self, routed: &Routed<'_>) -> Result<Request, Fault> {
        let head = self.head;
        let upgrade = allowed_upgrade(head, routed);
        let mut outgoing = self.http.lend_head();
        let peer = &self.connection.peer;
        rewrite::request(head, routed, peer, self.body, upgrade, &mut outgoing)?;
        let upstream = routed.upstream.get();
        let key = match upstream.hashes() {
            true => upstream
                .settings
                .hash_by
                .of(routed.client, head)
                .into_owned(),
            false => Vec::new(),
        };
        Ok(Request {
            outgoing,
            body: self.body,
            key,
            upgrade: upgrade.map(Box::from),
            asked: Asked::by(head),
            // Of HTTP/1.1 it concerns the client's connection alone.
            asks_for_trailers: head.version() == http::Version::HTTP_2 && head.wants_trailers(),
            gets_trailers: head.version() == http::Version::HTTP_2 || head.wants_trailers(),
            is_told_of_keep_alive: asks_to_be_told(head),
        })
    }

    fn assemble(&mut self, routed: &Routed<'_>, request: Request) -> Box<Exchange> {
        let upstream = routed.upstream.get();
        let connections = &self.connection.limits;
        // A gRPC stream lasts as long as its two ends want, with pauses of any length.
        let is_call = request.asked.is_grpc || request.upgrade.is_some();
        let client_rate = connections.min_body_rate.filter(|_| !is_call);
        let limits = Limits::new(&upstream.settings, connections.idle_timeout, client_rate);
        let limit = BodyLimit::new(routed.listener.body_limit, request.asked.is_grpc);
        let mut upload = Upload::new(limit);
        if self.head.expects_continue() && self.body != Framing::Empty {
            upload.expect_continue(self.now);
        }
        upstream
            .retry_budget
            .deposit(upstream.settings.retry_percent);
        Box::new(Exchange {
            http: Rc::clone(self.http),
            connection: Rc::clone(self.connection),
            upstream: routed.upstream.clone(),
            listener: self.listener,
            route: routed.route_index,
            request,
            upload,
            retry: RetryState::default(),
            attempts: Attempts::default(),
            clock: Clock::new(limits, self.now),
            stage: Stage::Acquire(Acquiring::Pick),
            record: self.record.take(),
            is_last: !asks_to_keep(self.head),
            ends_by_close: false,
            is_ended: false,
            settled: Settled::Open,
            _count: std::mem::take(&mut self.count),
        })
    }

    /// Answers a request that goes to no backend.
    fn answer(
        mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        refused: Refused,
    ) -> Outcome {
        let asked = Asked::by(self.head);
        let stats = self.http.stats();
        let is_last = !asks_to_keep(self.head)
            || self.connection.is_last_response()
            || !client.is_received()
            || matches!(&refused, Refused::Fault(fault) if fault.row().after == After::Close);
        let (status, cause, sent) = match refused {
            Refused::Options => (200, None, options(turn, client, asked, is_last)),
            Refused::Fault(fault) => {
                let row = fault.row();
                stats.faults(row.cause).increment();
                let status = if asked.is_grpc { 200 } else { row.status };
                let id = request_id_of(self.head);
                self.http.failures.refused(self.head, &id, &fault);
                let sent = refuse(turn, client, asked, &fault, &id, is_last);
                if let Some(record) = &mut self.record {
                    record.named(&id);
                }
                (status, Some(row.cause), sent)
            }
        };
        stats.unrouted.record(status, self.now.elapsed());
        if let Some(record) = &mut self.record {
            record.answered(status, cause);
            record.sent(sent.unwrap_or(0) as u64);
            self.http.log(record);
        }
        outcome_of_answer(client, is_last)
    }
}

/// What the client's connection does after an answer of our own.
fn outcome_of_answer(client: &MessageStream, is_last: bool) -> Outcome {
    match (client.is_received(), is_last) {
        (false, _) => Outcome::Close(Ending::Linger),
        (true, true) => Outcome::Close(Ending::Flush),
        (true, false) => Outcome::Done,
    }
}

/// The protocol that a request asks to switch to, if the listener allows it. Only HTTP/1.1 can
/// (RFC 9113 section 8.6).
fn allowed_upgrade<'a>(head: &'a RequestHead, routed: &Routed<'_>) -> Option<&'a [u8]> {
    let protocol = head.asked_upgrade()?;
    let is_allowed = |allowed: &String| protocol.eq_ignore_ascii_case(allowed.as_bytes());
    let allowed = routed.listener.upgrades.iter().any(is_allowed);
    (allowed && head.version() == http::Version::HTTP_11).then_some(protocol)
}

impl Exchange {
    /// Answers the client by a fault, and counts that.
    pub(super) fn answer(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        fault: &Fault,
    ) -> Outcome {
        let row = fault.row();
        if matches!(fault, Fault::ClientClosed) {
            self.settle(Some(fault));
            client.break_off();
            return Outcome::Close(Ending::Flush);
        }
        let is_last = self.is_last
            || self.connection.is_last_response()
            || !client.is_received()
            || row.after == After::Close;
        let asked = self.request.asked;
        let sent = refuse(turn, client, asked, fault, self.request_id(), is_last).unwrap_or(0);
        let status = if asked.is_grpc { 200 } else { row.status };
        self.record_response(status);
        if let Some(record) = &mut self.record {
            record.answered(status, Some(row.cause));
            record.sent(sent as u64);
        }
        self.settle(Some(fault));
        outcome_of_answer(client, is_last)
    }

    /// Counts the head of a backend's response.
    pub(super) fn count_response(&mut self, status: u16, now: Instant) {
        self.record_response(status);
        if let Some(record) = &mut self.record {
            record.responded(status, now);
        }
        self.settled = Settled::Responded;
    }

    fn record_response(&self, status: u16) {
        let stats = self.upstream.get().responses(self.http.worker());
        stats.record(status, self.clock.began().elapsed());
    }

    /// Ends the exchange's part in counts and log: in good order, or by a fault.
    pub(super) fn settle(&mut self, fault: Option<&Fault>) {
        if let Some(fault) = fault.filter(|_| self.settled != Settled::Over) {
            self.log_failure(fault);
        }
        self.settle_as(fault.map(Fault::cause));
    }

    pub(super) fn settle_as(&mut self, cause: Option<Cause>) {
        if self.settled == Settled::Over {
            return;
        }
        self.settled = Settled::Over;
        let stats = self.upstream.get().responses(self.http.worker());
        stats.received.add(self.upload.bytes());
        if let Some(cause) = cause {
            self.http.stats().faults(cause).increment();
        }
        if let Some(mut record) = self.record.take() {
            if let Some(cause) = cause {
                record.failed(cause);
            }
            record.received(self.upload.bytes());
            self.http.log(&record);
        }
    }
}
