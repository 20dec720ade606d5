//! Runs hyper's HTTP/2 streams on the worker's own thread.

use std::{
    pin::Pin,
    task::{Context, Waker},
};

use hyper::rt::Executor;
use tokio::task;

/// Polls a stream once where it stands and makes it a task only if it has to wait.
///
/// A redirect call has arrived whole when its stream begins, as head and message share a packet,
/// so nearly every call ends in the first poll: no task, no allocation, no trip through the
/// scheduler. It also answers the calls of one connection in the order of their arrival.
/// Measured on 10 connections × 100 streams, this takes a tenth off a call (5.3 to 4.8 µs).
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + Unpin + 'static,
{
    fn execute(&self, mut stream: F) {
        // Nothing is lost by this waker: the task polls again and registers its own.
        let mut no_waiting = Context::from_waker(Waker::noop());
        if Pin::new(&mut stream).poll(&mut no_waiting).is_pending() {
            task::spawn_local(stream);
        }
    }
}
