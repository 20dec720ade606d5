//! Which worker serves an accepted connection.
//!
//! The kernel spreads connections by a hash, which is fair for thousands and not for eight; and
//! eight gRPC connections can carry all the traffic there is. A worker that is ahead of the least
//! loaded one hands the socket over.

use std::net::{IpAddr, TcpStream};

use tokio::sync::mpsc;

use crate::{
    listener::ServiceId,
    state::{ClientPlace, ListenerPlace, Shared},
};

/// Chooses the worker for a connection that `own` accepted, from the connections that each
/// worker has open. `None` keeps it. Costs one read for each worker.
fn other_worker(own: usize, loads: impl Iterator<Item = usize>) -> Option<usize> {
    let mut own_load = 0;
    let mut least = (usize::MAX, own);
    for (index, load) in loads.enumerate() {
        if index == own {
            own_load = load;
        }
        least = least.min((load, index));
    }
    let (least_load, least_index) = least;
    // One apart is as even as it gets. Among many, an eighth is not worth the system calls.
    let ahead = own_load.saturating_sub(least_load) > (own_load / 8).max(1);
    ahead.then_some(least_index)
}

/// A connection that was accepted and counted.
#[derive(Debug)]
pub(in crate::data) struct Accepted<S> {
    pub(super) service: ServiceId,
    pub(super) peer: IpAddr,
    pub(super) stream: S,
    pub(super) client: ClientPlace,
    pub(super) listener: ListenerPlace,
}

/// One worker's channels to all others.
#[derive(Debug)]
pub struct Handover {
    sender: HandoverSender,
    receiver: mpsc::Receiver<Accepted<TcpStream>>,
}

impl Handover {
    pub(in crate::data) fn split(self) -> (HandoverSender, mpsc::Receiver<Accepted<TcpStream>>) {
        (self.sender, self.receiver)
    }
}

/// Makes the channels between all workers.
pub fn handovers(workers: usize) -> Vec<Handover> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| mpsc::channel(QUEUE_MAX)).unzip();
    receivers
        .into_iter()
        .map(|receiver| Handover {
            sender: HandoverSender(senders.clone()),
            receiver,
        })
        .collect()
}

/// The way to every worker, by its index.
#[derive(Debug)]
pub(in crate::data) struct HandoverSender(Vec<mpsc::Sender<Accepted<TcpStream>>>);

impl HandoverSender {
    /// Gives a connection, already counted for worker `own`, to a worker that has fewer. Returns
    /// it if it should stay, or if the other worker's queue is full.
    pub(super) fn place(
        &self,
        own: usize,
        accepted: Accepted<tokio::net::TcpStream>,
        shared: &Shared,
    ) -> Option<Accepted<tokio::net::TcpStream>> {
        let loads = shared
            .workers()
            .iter()
            .map(|worker| worker.open_connections());
        let Some(other) = other_worker(own, loads) else {
            return Some(accepted);
        };
        let Some(Ok(permit)) = self.0.get(other).map(mpsc::Sender::try_reserve) else {
            return Some(accepted);
        };
        let Accepted {
            service,
            peer,
            stream,
            client,
            listener,
        } = accepted;
        let Ok(stream) = stream.into_std() else {
            // The runtime is broken, and the connection with it.
            shared.worker(own).connection_closed();
            return None;
        };
        shared.worker(other).connection_opened();
        shared.worker(own).connection_closed();
        shared.worker(own).stats.handed_over.increment();
        permit.send(Accepted {
            service,
            peer,
            stream,
            client,
            listener,
        });
        None
    }
}

/// Connections on their way to one worker.
const QUEUE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: usize, loads: &[usize], expected: Option<usize>) {
        assert_eq!(other_worker(own, loads.iter().copied()), expected);
    }

    #[test]
    fn the_least_loaded_worker_gets_it() {
        check(0, &[2, 0], Some(1));
        check(0, &[3, 1, 0, 1], Some(2));
        check(1, &[0, 2], Some(0));
    }

    #[test]
    fn it_stays_where_no_one_has_less() {
        check(0, &[1], None);
        check(0, &[1, 0], None);
        check(0, &[1, 1], None);
        check(1, &[5, 4], None);
    }

    #[test]
    fn many_connections_bear_some_slack() {
        check(0, &[80, 70], None);
        check(0, &[80, 69], Some(1));
    }

    /// The contract: of 8 connections on 2 workers, neither carries more than 5, however the
    /// kernel deals them.
    #[test]
    fn few_connections_are_spread_however_they_arrive() {
        for arrivals in 0..=u8::MAX {
            let mut loads = [0, 0];
            for bit in 0..8 {
                let own = usize::from(arrivals >> bit & 1);
                loads[own] += 1;
                if let Some(other) = other_worker(own, loads.into_iter()) {
                    loads[own] -= 1;
                    loads[other] += 1;
                }
            }
            assert!(
                loads.iter().all(|&load| load <= 5),
                "arrivals {arrivals:08b}: {loads:?}"
            );
        }
    }
}
