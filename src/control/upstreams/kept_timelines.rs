//! The timelines of the primaries in use, in a file, so that a restart of Weir takes no old primary for
//! the newest.
//!
//! Read once at the start. Written by a task when one changes, as a whole and in place of the old file.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::{sync::watch, task::spawn_blocking};

use crate::replication::Timeline;

/// What is in the file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct State {
    /// By the names of the upstreams.
    primaries: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Kept {
    system: i64,
    timeline: u32,
}

/// The file, and what it should have.
#[derive(Debug)]
pub(super) struct KeptTimelines(Option<watch::Sender<State>>);

impl KeptTimelines {
    /// Reads the file. A file that cannot be read counts as empty, with an error in the log. Needs the
    /// control plane's runtime.
    pub(super) fn open(file: Option<&Path>) -> Self {
        let Some(path) = file else {
            return Self(None);
        };
        let state = match read(path) {
            Ok(state) => state,
            Err(error) => {
                let file = path.display();
                tracing::error!(%file, %error, "the state file cannot be read, so an old primary may be taken for the newest");
                State::default()
            }
        };
        let (sender, changes) = watch::channel(state);
        tokio::spawn(keep(path.to_owned(), changes));
        Self(Some(sender))
    }

    /// The timeline that an upstream used last.
    pub(super) fn of(&self, upstream: &str) -> Option<Timeline> {
        let state = self.0.as_ref()?.borrow();
        let kept = state.primaries.get(upstream)?;
        Some(Timeline {
            system: kept.system,
            number: kept.timeline,
        })
    }

    /// Keeps the timelines that upstreams use, by their names. Those of other upstreams stay.
    pub(super) fn keep(&self, used: &HashMap<&str, Timeline>) {
        let Some(sender) = &self.0 else {
            return;
        };
        sender.send_if_modified(|state| {
            let before = state.clone();
            let kept = used.iter().map(|(&upstream, timeline)| {
                let kept = Kept {
                    system: timeline.system,
                    timeline: timeline.number,
                };
                (upstream.to_owned(), kept)
            });
            state.primaries.extend(kept);
            *state != before
        });
    }
}

async fn keep(path: PathBuf, mut changes: watch::Receiver<State>) {
    while changes.changed().await.is_ok() {
        let state = changes.borrow_and_update().clone();
        let file = path.clone();
        let written = spawn_blocking(move || write(&file, &state)).await;
        if let Ok(Err(error)) = written {
            let file = path.display();
            tracing::error!(%file, %error, "the state file cannot be written, so a restart may take an old primary for the newest");
        }
    }
}

fn read(path: &Path) -> io::Result<State> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, state: &State) -> io::Result<()> {
    // As the last component of a relative path is beside it.
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let mut file = NamedTempFile::new_in(directory.unwrap_or_else(|| Path::new(".")))?;
    serde_json::to_writer_pretty(&mut file, state)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
