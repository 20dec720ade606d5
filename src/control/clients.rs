//! Follows the database of registered clients: reads all of them whenever they may have changed, and
//! hands them to the publisher of snapshots. While the database gives no answer, the last ones stay.

use std::{convert::Infallible, sync::Arc};

use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, Instant, sleep, sleep_until, timeout},
};

use crate::{
    config::BackendOverrides,
    limit::Client,
    state::Shared,
    store::{BadRow, Store, StoreError, changes::Changes},
};

/// Follows a database.
#[derive(Debug)]
pub(super) struct ClientSync {
    store: Store,
    shared: Arc<Shared>,
    /// Tells of changes that were made in this process.
    changed_here: Arc<Notify>,
    published: mpsc::Sender<Followed>,
    /// What was handed on last.
    known: Option<Followed>,
    bad: Vec<BadRow>,
}

/// What the database says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Followed {
    pub(super) clients: Vec<Client>,
    pub(super) overrides: BackendOverrides,
}

impl ClientSync {
    /// What follows `store`, and where its clients come out.
    pub(super) fn new(
        store: Store,
        shared: Arc<Shared>,
        changed_here: Arc<Notify>,
    ) -> (Self, mpsc::Receiver<Followed>) {
        let (published, clients) = mpsc::channel(1);
        let sync = Self {
            store,
            shared,
            changed_here,
            published,
            known: None,
            bad: Vec::new(),
        };
        (sync, clients)
    }

    /// Follows it for ever. Begins anew, after a pause that grows, each time that it gives no answer.
    pub(super) async fn run(mut self) -> Infallible {
        let mut pause = PAUSE_MIN;
        loop {
            let reads = self.shared.database.reads();
            let Err(error) = self.follow().await;
            if self.shared.database.failed() {
                let database = self.store.database();
                let stays = match self.known {
                    Some(_) => "the last known clients and limits stay",
                    None => "until it does, each client has the default limit",
                };
                tracing::error!(%database, %error, "the database gives no answer; {stays}");
            }
            pause = match self.shared.database.reads() > reads {
                true => PAUSE_MIN,
                false => (pause * 2).min(PAUSE_MAX),
            };
            // The URL could be read before.
            let _unreadable = self.store.reconnect();
            sleep(super::jittered(pause)).await;
        }
    }

    /// Reads now, and after each change.
    async fn follow(&mut self) -> Result<Infallible, StoreError> {
        within(self.store.prepare(), PREPARE_TIME_MAX).await?;
        let mut changes = within(Changes::of(&self.store), READ_TIME_MAX).await?;
        loop {
            self.read().await?;
            let read_at = Instant::now();
            // A read now and then finds what no source of changes told of.
            tokio::select! {
                changed = changes.changed() => changed?,
                () = self.changed_here.notified() => {}
                () = sleep(super::jittered(REREAD_INTERVAL)) => {}
            }
            // Changes often come together, and all clients are read for each of them.
            sleep_until((Instant::now() + GATHER_TIME).max(read_at + READ_INTERVAL_MIN)).await;
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let read = within(self.store.read_clients(), READ_TIME_MAX).await?;
        if read.bad != self.bad {
            for row in read.bad.iter().take(ROWS_LOGGED_MAX) {
                tracing::warn!(
                    rows = read.bad.len(),
                    "left out a row of the database: {row}"
                );
            }
            self.bad.clone_from(&read.bad);
        }
        if self.shared.database.read(read.bad.len()) {
            let (database, clients) = (self.store.database(), read.clients.len());
            tracing::info!(%database, clients, "the database of clients is read");
        }
        let followed = Followed {
            clients: read.clients,
            overrides: within(self.store.read_overrides(), READ_TIME_MAX).await?,
        };
        if self.known.as_ref() != Some(&followed) {
            self.known = Some(followed.clone());
            // The other end is there until the process ends.
            let _ended = self.published.send(followed).await;
        }
        Ok(())
    }
}

async fn within<T>(
    asking: impl Future<Output = Result<T, StoreError>>,
    time_max: Duration,
) -> Result<T, StoreError> {
    match timeout(time_max, asking).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(StoreError::TimedOut(time_max)),
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const REREAD_INTERVAL: Duration = Duration::from_secs(60);
const GATHER_TIME: Duration = Duration::from_millis(250);
/// A change is seen within two seconds all the same.
const READ_INTERVAL_MIN: Duration = Duration::from_secs(1);
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// The wait for the lock of a migration, and the migration.
const PREPARE_TIME_MAX: Duration = Duration::from_secs(30);
const ROWS_LOGGED_MAX: usize = 10;
