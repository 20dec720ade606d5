//! Responses of which an HTTP/2 client takes nothing more.
//!
//! hyper does not ask for a body while its stream has no room, so a body's own limits would never
//! be looked at: one client that opens no window could hold a backend's connections and places for
//! as long as its other streams move. So these are looked at from outside.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use tokio::time::{Duration, Instant};

use crate::data::http::relayed_body::RelayedBody;

/// The bodies of one worker that may have to wait for their client.
#[derive(Debug, Default)]
pub(in crate::data) struct UnpolledBodies(RefCell<Vec<Watched>>);

#[derive(Debug)]
struct Watched {
    body: Weak<RefCell<RelayedBody>>,
    client_idle_timeout: Duration,
}

impl UnpolledBodies {
    /// Looks after a body.
    pub(super) fn watch(&self, body: &Rc<RefCell<RelayedBody>>, client_idle_timeout: Duration) {
        self.0.borrow_mut().push(Watched {
            body: Rc::downgrade(body),
            client_idle_timeout,
        });
    }

    /// Gives up those that are overdue, and forgets those that are gone.
    pub(in crate::data) fn give_up_stalled(&self, now: Instant) {
        self.0.borrow_mut().retain(|watched| {
            let Some(body) = watched.body.upgrade() else {
                return false;
            };
            body.borrow_mut()
                .give_up_if_stalled(now, watched.client_idle_timeout);
            true
        });
    }
}
