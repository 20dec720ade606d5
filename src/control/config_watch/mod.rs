//! Tells when the configuration file has another content.
//!
//! Watches the file's directory, not the file: editors rename a new file over the old one, and
//! Kubernetes swaps a symbolic link beside it (`..data`). What an event says does not matter; each
//! makes the file be read again and compared. Reads only; `control::reload` decides what a change
//! means. Runs on the control plane's thread, with one thread of `notify` beside it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Interval, MissedTickBehavior, interval, sleep},
};

/// Watches one file. Dropped, it stops.
#[derive(Debug)]
pub(super) struct ConfigWatch {
    path: PathBuf,
    /// What the last change was to; at first, what the file had. `None` if it could not be read.
    content: Option<Vec<u8>>,
    /// There was a sign of a change and the file was not compared since. Kept here, so that
    /// nothing is lost where `changed` is dropped on its way.
    suspicious: bool,
    /// For whatever makes no event: another machine's write to a network file system, a target of
    /// a symbolic link elsewhere, a directory that was replaced, an overflow.
    poll: Interval,
    signs: mpsc::Receiver<()>,
    /// Ends its thread when dropped. `None` where watching is not possible.
    _watcher: Option<RecommendedWatcher>,
}

impl ConfigWatch {
    /// Notes the file's content and starts to watch. Where the system does not let us watch, that
    /// is logged, and the file is only looked at every 30 seconds.
    ///
    /// Must be called within a runtime.
    pub(super) fn new(path: PathBuf) -> Self {
        let (sender, signs) = mpsc::channel(1);
        let watcher = watch(&path, sender);
        if let Err(error) = &watcher {
            tracing::warn!(
                %error, interval = ?POLL_INTERVAL,
                "cannot watch the configuration file's directory; looking at the file from time to time"
            );
        }
        Self::with_signs(path, signs, watcher.ok(), POLL_INTERVAL)
    }

    fn with_signs(
        path: PathBuf,
        signs: mpsc::Receiver<()>,
        watcher: Option<RecommendedWatcher>,
        poll_interval: Duration,
    ) -> Self {
        let mut poll = interval(poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.reset();
        Self {
            content: read(&path).ok(),
            path,
            suspicious: false,
            poll,
            signs,
            _watcher: watcher,
        }
    }

    /// Waits until the file has another content than at the last change, and had it for
    /// [`SETTLE_TIME`]. A file that vanished is waited for. May be dropped and called again:
    /// no change is lost.
    pub(super) async fn changed(&mut self) {
        loop {
            while !self.suspicious {
                tokio::select! {
                    Some(()) = self.signs.recv() => {}
                    _ = self.poll.tick() => {}
                }
                self.suspicious = true;
            }
            let settled = self.settled().await;
            self.suspicious = false;
            if let Some(content) = settled {
                self.content = Some(content);
                return;
            }
        }
    }

    /// The new content, if there is one, when it stopped changing.
    async fn settled(&mut self) -> Option<Vec<u8>> {
        let mut content = self.read().await?;
        while self.content.as_ref() != Some(&content) {
            sleep(SETTLE_TIME).await;
            // Signs of what is read now would only have it read once more.
            while self.signs.try_recv().is_ok() {}
            let again = self.read().await?;
            if again == content {
                return Some(content);
            }
            content = again;
        }
        None
    }

    /// Off the runtime's thread, since a network file system may be slow.
    async fn read(&self) -> Option<Vec<u8>> {
        let path = self.path.clone();
        // Whatever the reason, there is nothing to load; an event or the next poll tries again.
        spawn_blocking(move || read(&path)).await.ok()?.ok()
    }
}

/// Has the file's directory watched; each event there gives a sign, unless one waits already.
fn watch(path: &Path, signs: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if is_sign(&event) {
            let _one_waits_already = signs.try_send(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Our own reading is an event, too, and none of a change. An error may mean that events were
/// lost.
fn is_sign(event: &notify::Result<notify::Event>) -> bool {
    !matches!(event, Ok(event) if matches!(event.kind, EventKind::Access(_)))
}

/// Reads a file, through symbolic links. Anything else, such as a pipe, could block for ever.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    File::open(path)?
        .take(CONTENT_BYTES_MAX)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// How long a content must stay the same: longer than a program takes between truncating a file
/// and writing it.
const SETTLE_TIME: Duration = Duration::from_millis(200);
/// The longest that a change without an event goes unseen.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// What of a file is compared: more than any sane configuration has.
const CONTENT_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests;
