//! What follows when a stage fails or its time is over: another attempt, an answer, or a broken end.

use crate::{
    data::{
        exchange::{
            Exchange, Stage, Step,
            acquire::{Acquiring, Wanted},
            clock::{Overdue, Wait},
            retry::{Again, Failure, Next},
        },
        fault::{Blame, Fault},
        outcome::{Ending, Outcome},
        stream::{MessageStream, Turn},
        upstream::suspect,
    },
    state::InFlight,
};

impl Exchange {
    /// Notes a backend that cannot be connected to.
    pub(super) fn unreached(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        in_flight: InFlight,
        fault: Fault,
    ) -> Step {
        self.attempts.at(in_flight.backend().id);
        if let Some(record) = &mut self.record {
            record.attempt(in_flight.backend());
        }
        let again = match fault.row().blame {
            // Another backend would not be reached either.
            Blame::Local => Again::No,
            Blame::Backend | Blame::Neither | Blame::Client => Again::Elsewhere,
        };
        self.after_failure(turn, client, in_flight, Failure::new(fault, again))
    }

    /// Decides what to do after an attempt that failed.
    pub(super) fn after_failure(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        in_flight: InFlight,
        failure: Failure,
    ) -> Step {
        let cause = failure.fault.cause();
        if failure.blames_backend() {
            self.suspect(in_flight.backend().stats.failed(cause));
        }
        if let Some(record) = &mut self.record {
            record.attempt_failed(cause);
        }
        let next = match self.retry.next(in_flight.backend().id, &failure) {
            Some(Next::SameBackend) => Some(Acquiring::Connection(in_flight)),
            Some(Next::AnotherBackend) => {
                drop(in_flight);
                // The failure says more than that no other backend is left.
                let wanted = Wanted::by(&self.http, &self.upstream, &self.request, &self.retry);
                wanted.begin(turn.now, &mut self.clock).ok()
            }
            None => None,
        };
        let budget = &self.upstream.get().retry_budget;
        match next.filter(|_| budget.withdraw(turn.now.into_std())) {
            Some(next) => {
                self.http.stats().retries(cause).increment();
                self.retry.failed(failure.fault);
                Step::Go(Stage::Acquire(next))
            }
            None => self.give_up(turn, client, failure.fault),
        }
    }

    /// Tells the control plane of a backend that failed often enough in a row to be looked at.
    pub(super) fn suspect(&self, in_a_row: u32) {
        suspect(&self.http.context, self.upstream.get(), in_a_row);
    }

    /// Ends a stage whose time is over.
    pub(super) fn look_at_the_clock(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        stage: Stage,
    ) -> Step {
        let Some(overdue) = self.clock.overdue(turn.now) else {
            return Step::Wait(stage);
        };
        let fault = self.overdue_fault(overdue);
        match stage {
            Stage::BreakOff => Step::Wait(stage),
            Stage::Flush => self.cut_off(client, fault),
            Stage::Relay(_) => self.break_off(turn, client, fault),
            Stage::Send(acquired) => {
                acquired.connection.note_silence();
                let is_delivered = self.upload.is_over();
                if overdue == Overdue::Total && is_delivered {
                    // The backend had all of the request, and kept it.
                    self.suspect(acquired.backend().stats.failed(fault.cause()));
                }
                match overdue {
                    Overdue::Wait(Wait::Delivery | Wait::Response) => {
                        let failure = Failure::new(fault, Again::No);
                        self.after_failure(turn, client, acquired.in_flight, failure)
                    }
                    Overdue::Wait(_) | Overdue::ClientRate | Overdue::Total => {
                        self.give_up(turn, client, fault)
                    }
                }
            }
            Stage::Acquire(Acquiring::Connect(in_flight, _)) if overdue != Overdue::Total => {
                self.unreached(turn, client, in_flight, fault)
            }
            Stage::Acquire(_) => self.give_up(turn, client, fault),
        }
    }

    pub(super) fn overdue_fault(&self, overdue: Overdue) -> Fault {
        let limits = self.clock.limits();
        let upstream = || self.upstream.get().name().to_owned();
        match overdue {
            Overdue::Wait(Wait::Queue) => Fault::QueueTimeout {
                upstream: upstream(),
                timeout: limits.queue,
            },
            Overdue::Wait(Wait::Connect) => Fault::ConnectTimeout {
                upstream: upstream(),
                timeout: limits.connect,
            },
            Overdue::Wait(Wait::Delivery | Wait::Response) => Fault::ResponseTimeout {
                timeout: limits.response,
            },
            Overdue::Wait(Wait::Download) => Fault::ResponseStalled {
                timeout: limits.upstream_idle,
            },
            Overdue::Wait(Wait::Upload | Wait::Client) | Overdue::ClientRate => {
                Fault::ClientStalled
            }
            Overdue::Total => Fault::TotalTimeout {
                timeout: limits.total.unwrap_or_default(),
            },
        }
    }

    /// Ends an exchange whose client does not take the end of the response.
    pub(super) fn cut_off(&mut self, client: &mut MessageStream, fault: Fault) -> Step {
        self.settle(Some(&fault));
        client.break_off();
        Step::End(Outcome::Close(Ending::Stalled))
    }

    /// Answers the client by a fault.
    pub(super) fn give_up(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        fault: Fault,
    ) -> Step {
        self.upload.abandon();
        Step::End(self.answer(turn, client, &fault))
    }
}
