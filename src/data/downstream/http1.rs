//! A client connection that speaks HTTP/1.1.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::time::{Duration, Instant};

use crate::{
    data::{
        answer::Asked,
        connection::Connection,
        downstream::http1_ending::{LINGER_BYTES_MAX, poll_tunnel},
        fault::Fault,
        outcome::{Ending, Outcome},
        service::{Call, Service, Started},
        stream::{HeadRead, Http1Stream, MessageStream, Turn},
        timer::Timer,
    },
    http1::parse_request,
    message::{Framing, request_framing},
    net::Transport,
    shutdown::Phase,
    state::{Cause, CloseCause},
};

/// A client connection that speaks HTTP/1.1. Between requests it holds no buffer.
#[derive(Debug)]
pub(super) struct Http1Connection {
    connection: Rc<Connection>,
    service: Service,
    stream: MessageStream,
    state: State,
    timer: Timer,
}

/// Where a connection is.
pub(super) enum State {
    /// It waits for a request.
    Idle { since: Instant },
    /// The head of a request has begun.
    ReadingHead { since: Instant },
    /// A request is being answered.
    InExchange(Call),
    /// An answer is on its way, after which the next request is read, or the connection ends.
    Flushing { since: Instant, then: Then },
    /// The last answer was sent, and the client may still be sending.
    Lingering {
        until: Instant,
        bytes_left: usize,
        cause: CloseCause,
    },
    /// It carries another protocol.
    Tunnel(Pin<Box<dyn Future<Output = CloseCause>>>),
}

/// What follows an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    NextRequest,
    /// The connection ends unless the client is still sending.
    Close(CloseCause),
    /// The client is still sending, this much at the most.
    Linger(CloseCause, usize),
}

/// What a state says.
pub(super) enum Step {
    Go(State),
    Wait(State),
    End(CloseCause),
}

impl Http1Connection {
    /// A connection of which `opening` was read already.
    pub(super) fn new(
        connection: Rc<Connection>,
        service: Service,
        transport: Transport,
        opening: Vec<u8>,
    ) -> Self {
        Self {
            connection,
            service,
            stream: MessageStream::Http1(Http1Stream::new(transport, opening)),
            state: State::Idle {
                since: Instant::now(),
            },
            timer: Timer::default(),
        }
    }

    /// Serves on until the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseCause> {
        let connection = Rc::clone(&self.connection);
        let mut scratch = connection.worker.scratch.borrow_mut();
        let mut turn = Turn {
            cx,
            now: Instant::now(),
            scratch: &mut scratch,
        };
        loop {
            let state = std::mem::replace(&mut self.state, State::idle(turn.now));
            let step = match state {
                State::Idle { since } => self.poll_head(&mut turn, State::Idle { since }, since),
                State::ReadingHead { since } => {
                    self.poll_head(&mut turn, State::ReadingHead { since }, since)
                }
                State::InExchange(call) => self.poll_call(&mut turn, call),
                State::Flushing { since, then } => self.poll_flush(&mut turn, since, then),
                State::Lingering {
                    until,
                    bytes_left,
                    cause,
                } => self.poll_linger(&mut turn, until, bytes_left, cause),
                State::Tunnel(tunnel) => poll_tunnel(&mut turn, &self.connection, tunnel),
            };
            let step = match step {
                Step::Wait(state) => self.look_at_the_clock(&mut turn, state),
                step @ (Step::Go(_) | Step::End(_)) => step,
            };
            match step {
                Step::Go(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Poll::Pending;
                }
                Step::End(cause) => {
                    connection.end(cause);
                    return Poll::Ready(cause);
                }
            }
        }
    }

    pub(super) fn http1(&mut self) -> &mut Http1Stream {
        match &mut self.stream {
            MessageStream::Http1(stream) => stream,
            MessageStream::Http2(_) => unreachable!("made with an HTTP/1.1 stream"),
        }
    }

    fn poll_head(&mut self, turn: &mut Turn<'_, '_>, state: State, since: Instant) -> Step {
        let bytes_max = self.connection.limits.max_header_size as usize;
        self.http1().skip_blank_lines();
        let read = self.http1().poll_head(turn, bytes_max, |bytes, heads| {
            parse_request(bytes, heads.request)
        });
        match read {
            Poll::Ready(HeadRead::Complete) => self.start(turn),
            Poll::Ready(HeadRead::Ended) => Step::End(self.done()),
            Poll::Ready(HeadRead::Broken) => Step::End(CloseCause::ConnectionError),
            Poll::Ready(HeadRead::TooLong) => {
                let fault = Fault::HeadLimit {
                    bytes_max: bytes_max as u64,
                };
                self.refuse(turn, &fault, since, CloseCause::HeadLimit)
            }
            Poll::Ready(HeadRead::Refused(fault)) => {
                let fault = Fault::from(fault);
                let cause = match fault.cause() == Cause::HeadLimit {
                    true => CloseCause::HeadLimit,
                    false => CloseCause::MalformedHead,
                };
                self.refuse(turn, &fault, since, cause)
            }
            Poll::Pending => {
                self.http1().skip_blank_lines();
                match (state, self.http1().has_unread()) {
                    (State::Idle { .. }, true) => {
                        Step::Wait(State::ReadingHead { since: turn.now })
                    }
                    (state, _) => Step::Wait(state),
                }
            }
        }
    }

    /// Starts to answer the request whose head is in the scratch buffers.
    fn start(&mut self, turn: &mut Turn<'_, '_>) -> Step {
        let framing = match request_framing(&turn.scratch.request) {
            Ok(framing) => framing,
            Err(fault) => {
                let now = turn.now;
                return self.refuse(turn, &fault.into(), now, CloseCause::MalformedHead);
            }
        };
        self.http1().receive(framing);
        let started = self
            .service
            .start(&self.connection, turn, &mut self.stream, framing);
        match started {
            Started::Call(call) => Step::Go(State::InExchange(call)),
            Started::Answered(outcome) => self.after(turn, outcome),
        }
    }

    fn poll_call(&mut self, turn: &mut Turn<'_, '_>, mut call: Call) -> Step {
        match call.poll(turn, &mut self.stream) {
            Poll::Ready(outcome) => {
                drop(call);
                self.after(turn, outcome)
            }
            Poll::Pending if self.connection.phase() == Phase::Cut => {
                self.connection.end(CloseCause::Cut);
                Step::End(CloseCause::Cut)
            }
            Poll::Pending => Step::Wait(State::InExchange(call)),
        }
    }

    /// Goes on after a request.
    fn after(&mut self, turn: &Turn<'_, '_>, outcome: Outcome) -> Step {
        let then = match outcome {
            Outcome::Done => Then::NextRequest,
            Outcome::Close(Ending::Flush) => Then::Close(self.done()),
            Outcome::Close(Ending::Linger) => Then::Linger(self.done(), usize::MAX),
            Outcome::Close(Ending::Reset) => {
                self.http1().reset_on_close();
                return Step::End(CloseCause::ConnectionError);
            }
            Outcome::Close(Ending::Stalled) => {
                self.http1().reset_on_close();
                return Step::End(CloseCause::Stalled);
            }
            Outcome::Switch(tunnel) => {
                let stream = std::mem::replace(&mut self.stream, MessageStream::none());
                let MessageStream::Http1(client) = stream else {
                    return Step::End(CloseCause::ConnectionError);
                };
                return Step::Go(State::Tunnel(tunnel(client)));
            }
        };
        Step::Go(State::Flushing {
            since: turn.now,
            then,
        })
    }

    /// Answers what is no request, and ends the connection.
    fn refuse(
        &mut self,
        turn: &mut Turn<'_, '_>,
        fault: &Fault,
        since: Instant,
        cause: CloseCause,
    ) -> Step {
        self.http1().receive(Framing::Empty);
        let asked = Asked::unreadably();
        self.service.answer_unreadable(
            &self.connection,
            turn,
            &mut self.stream,
            asked,
            fault,
            since,
        );
        Step::Go(State::Flushing {
            since: turn.now,
            then: Then::Linger(cause, LINGER_BYTES_MAX),
        })
    }

    /// Ends a state whose time is over, or that a stop ends.
    fn look_at_the_clock(&mut self, turn: &mut Turn<'_, '_>, state: State) -> Step {
        let phase = self.connection.phase();
        if phase == Phase::Cut {
            self.connection.end(CloseCause::Cut);
            return Step::End(CloseCause::Cut);
        }
        if phase >= Phase::ClosingIdle && matches!(state, State::Idle { .. }) {
            return Step::End(CloseCause::Drained);
        }
        let limits = &self.connection.limits;
        let due = match &state {
            State::Idle { since } => *since + limits.idle_timeout,
            // A stop does not wait for clients that dawdle over a head.
            State::ReadingHead { since } if phase >= Phase::ClosingIdle => {
                *since + limits.header_timeout.min(STOP_HEAD_TIME_MAX)
            }
            State::ReadingHead { since } => *since + limits.header_timeout,
            State::InExchange(call) => match call.due() {
                Some(due) => due,
                None => return Step::Wait(state),
            },
            State::Flushing { since, .. } => *since + limits.idle_timeout,
            State::Lingering { until, .. } => *until,
            State::Tunnel(_) => return Step::Wait(state),
        };
        if self.timer.poll(turn.cx, turn.now, due).is_pending() {
            return Step::Wait(state);
        }
        // The clock of this poll may be older than what the timer saw.
        turn.now = turn.now.max(due);
        match state {
            State::Idle { .. } => Step::End(CloseCause::IdleTimeout),
            State::ReadingHead { since } => {
                let timeout = limits.header_timeout;
                let fault = Fault::HeaderTimeout { timeout };
                self.refuse(turn, &fault, since, CloseCause::HeaderTimeout)
            }
            State::Flushing { .. } => {
                self.http1().reset_on_close();
                Step::End(CloseCause::Stalled)
            }
            State::Lingering { cause, .. } => Step::End(cause),
            state @ (State::InExchange(_) | State::Tunnel(_)) => Step::Go(state),
        }
    }

    fn done(&self) -> CloseCause {
        match self.connection.phase() >= Phase::Draining {
            true => CloseCause::Drained,
            false => CloseCause::Done,
        }
    }
}

impl State {
    pub(super) fn idle(since: Instant) -> Self {
        Self::Idle { since }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle { .. } => "Idle",
            Self::ReadingHead { .. } => "ReadingHead",
            Self::InExchange(_) => "InExchange",
            Self::Flushing { .. } => "Flushing",
            Self::Lingering { .. } => "Lingering",
            Self::Tunnel(_) => "Tunnel",
        })
    }
}

/// What a head that has begun gets when a stop closes idle connections.
const STOP_HEAD_TIME_MAX: Duration = Duration::from_secs(1);
