//! The stage that gets a backend and a connection to it: picks, waits in the queue where all
//! backends are full, connects where no connection was kept.

use std::{fmt, pin::Pin, rc::Rc, sync::Arc, task::Poll};

use tokio::time::Instant;

use crate::{
    data::{
        context::UpstreamRef,
        exchange::{
            HttpWorker, Request, RetryState,
            clock::{Clock, Wait},
        },
        fault::Fault,
        stream::Turn,
        upstream::{Connected, Reuse, UpstreamConnection, connect, pick, wait_in_queue},
    },
    net::Dialing,
    state::{Backend, InFlight},
};

/// A backend that counts the request, and a connection to it.
#[derive(Debug)]
pub(super) struct Acquired {
    pub(super) in_flight: InFlight,
    pub(super) connection: UpstreamConnection,
    /// Whether it carried a request before.
    pub(super) is_reused: bool,
    /// When the request began to be sent.
    pub(super) sent_at: Instant,
}

impl Acquired {
    /// The backend.
    pub(super) fn backend(&self) -> &Arc<Backend> {
        self.in_flight.backend()
    }
}

/// How far the stage is.
pub(super) enum Acquiring {
    /// It has to pick.
    Pick,
    /// It waits for a backend that may take one more request.
    Queue(Boxed<Result<InFlight, Fault>>),
    /// It has a backend, and needs a connection.
    Connection(InFlight),
    /// It connects.
    Connect(InFlight, Boxed<Result<Connected, Fault>>),
}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

impl fmt::Debug for Acquiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pick => "Pick",
            Self::Queue(_) => "Queue",
            Self::Connection(_) => "Connection",
            Self::Connect(..) => "Connect",
        })
    }
}

/// What the stage needs to know of a request.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) http: &'a Rc<HttpWorker>,
    pub(super) upstream: &'a UpstreamRef,
    /// What consistent hashing hashes.
    pub(super) key: &'a [u8],
    /// Backends that are not asked again.
    pub(super) tried: &'a [usize],
    pub(super) reuse: Reuse,
    /// What the connection is for: only HTTP/1.1 can switch protocols.
    pub(super) dialing: Dialing,
}

/// Why the stage ended without a connection.
#[derive(Debug)]
pub(super) enum AcquireFault {
    /// No backend takes the request.
    Unpicked(Fault),
    /// The backend that was picked cannot be reached.
    Unreached(InFlight, Fault),
}

impl<'a> Wanted<'a> {
    /// What a request needs after what was tried.
    pub(super) fn by(
        http: &'a Rc<HttpWorker>,
        upstream: &'a UpstreamRef,
        request: &'a Request,
        retry: &'a RetryState,
    ) -> Self {
        Self {
            http,
            upstream,
            key: &request.key,
            tried: &retry.tried,
            reuse: retry.reuse,
            dialing: match request.upgrade {
                Some(_) => Dialing::Http1,
                None => Dialing::Any,
            },
        }
    }

    /// Goes on until there is a connection or something has to be waited for.
    pub(super) fn poll(
        &self,
        turn: &mut Turn<'_, '_>,
        acquiring: &mut Acquiring,
        clock: &mut Clock,
    ) -> Poll<Result<Acquired, AcquireFault>> {
        loop {
            match std::mem::replace(acquiring, Acquiring::Pick) {
                Acquiring::Pick => match self.begin(turn.now, clock) {
                    Err(fault) => return Poll::Ready(Err(AcquireFault::Unpicked(fault))),
                    Ok(begun) => *acquiring = begun,
                },
                Acquiring::Queue(mut waiting) => match waiting.as_mut().poll(turn.cx) {
                    Poll::Ready(Ok(in_flight)) => *acquiring = Acquiring::Connection(in_flight),
                    Poll::Ready(Err(fault)) => {
                        return Poll::Ready(Err(AcquireFault::Unpicked(fault)));
                    }
                    Poll::Pending => {
                        clock.waits_for(Wait::Queue, turn.now);
                        *acquiring = Acquiring::Queue(waiting);
                        return Poll::Pending;
                    }
                },
                Acquiring::Connection(in_flight) => {
                    if let Some(connection) = self.kept(turn, &in_flight) {
                        return Poll::Ready(Ok(Acquired {
                            in_flight,
                            connection,
                            is_reused: true,
                            sent_at: turn.now,
                        }));
                    }
                    clock.restart(turn.now);
                    let connecting = self.connect(&in_flight);
                    *acquiring = Acquiring::Connect(in_flight, connecting);
                }
                Acquiring::Connect(in_flight, mut connecting) => {
                    match connecting.as_mut().poll(turn.cx) {
                        Poll::Ready(Ok(connected)) => {
                            return Poll::Ready(Ok(Acquired {
                                in_flight,
                                connection: connected.connection,
                                is_reused: connected.is_reused,
                                sent_at: turn.now,
                            }));
                        }
                        Poll::Ready(Err(fault)) => {
                            return Poll::Ready(Err(AcquireFault::Unreached(in_flight, fault)));
                        }
                        Poll::Pending => {
                            clock.waits_for(Wait::Connect, turn.now);
                            *acquiring = Acquiring::Connect(in_flight, connecting);
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }

    /// Picks a backend, or takes a place in the queue.
    pub(super) fn begin(&self, now: Instant, clock: &mut Clock) -> Result<Acquiring, Fault> {
        Ok(match pick(self.upstream.get(), self.key, self.tried)? {
            Some(in_flight) => Acquiring::Connection(in_flight),
            None => {
                clock.restart(now);
                Acquiring::Queue(self.wait_in_queue())
            }
        })
    }

    /// Waits for a place at a backend: a retry before all requests that were not tried yet.
    fn wait_in_queue(&self) -> Boxed<Result<InFlight, Fault>> {
        let context = Rc::clone(&self.http.context);
        let upstream = self.upstream.clone();
        let (key, tried) = (self.key.to_vec(), self.tried.to_vec());
        Box::pin(async move { wait_in_queue(&context, &upstream, &key, &tried).await })
    }

    fn kept(&self, turn: &mut Turn<'_, '_>, in_flight: &InFlight) -> Option<UpstreamConnection> {
        // A tunnel takes its connection with it, so it gets one of its own.
        let may_reuse = self.reuse == Reuse::Allowed && self.dialing == Dialing::Any;
        let backend = in_flight.backend().id;
        may_reuse
            .then(|| self.http.pool.take(backend, turn))
            .flatten()
    }

    fn connect(&self, in_flight: &InFlight) -> Boxed<Result<Connected, Fault>> {
        Box::pin(connect(
            Rc::clone(&self.http.pool),
            self.upstream.clone(),
            Arc::clone(in_flight.backend()),
            self.dialing,
            self.reuse,
        ))
    }
}
