//! Reads the configuration again, on a thread of its own: a file system may hang, and the control
//! plane must not.

use std::{fmt, fs, future::pending, io, path::PathBuf, sync::Arc};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Duration, Instant, timeout_at},
};

use crate::config::{Checked, ConfigErrors};

/// Reads the configuration, from wherever it came.
#[derive(Clone)]
pub struct Loader {
    /// Reads it. May block.
    pub load: Arc<dyn Fn() -> Result<Checked, ConfigErrors> + Send + Sync>,
    /// The file, if there is one. A change of it is a reload.
    pub file: Option<PathBuf>,
}

impl Loader {
    /// Whether the configuration can be read more than once: a pipe cannot.
    pub(super) fn is_repeatable(&self) -> bool {
        self.file
            .as_ref()
            .is_none_or(|file| fs::metadata(file).is_ok_and(|metadata| metadata.is_file()))
    }

    fn read(&self) -> Result<Checked, LoadError> {
        let Some(file) = &self.file else {
            return Ok((self.load)()?);
        };
        let metadata = fs::metadata(file).map_err(|source| LoadError::Unreadable {
            file: file.clone(),
            source,
        })?;
        match metadata.is_file() {
            true => Ok((self.load)()?),
            false => Err(LoadError::NotRegular { file: file.clone() }),
        }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Why there is no new configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Faulty(#[from] ConfigErrors),
    #[error("cannot read configuration file {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{} is not a regular file, and only those can be read again", file.display())]
    NotRegular { file: PathBuf },
    #[error("reading the configuration took longer than {0:?}")]
    TimedOut(Duration),
    #[error("an earlier attempt to read the configuration still hangs")]
    Hangs,
    #[error("the thread that read the configuration failed")]
    Panicked,
}

/// Why the configuration is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// The operator asked for it.
    Asked,
    /// It may have changed.
    MayDiffer,
}

/// A read that is under way, if there is one.
#[derive(Debug)]
pub(super) struct Loading {
    loader: Loader,
    read: Option<Read>,
    /// A read that took too long. No other begins before it ends, so that there is one thread.
    hung: Option<JoinHandle<Result<Checked, LoadError>>>,
    /// Whether something asked for a read while one was under way.
    again: Option<Why>,
    /// The longest that a read may take.
    time_max: Duration,
    /// The number of reads that began.
    begun: u64,
}

/// A read that ended.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Which one, counted from 1.
    pub(super) number: u64,
    pub(super) why: Why,
    pub(super) result: Result<Checked, LoadError>,
}

#[derive(Debug)]
struct Read {
    handle: JoinHandle<Result<Checked, LoadError>>,
    until: Instant,
    why: Why,
}

impl Loading {
    pub(super) fn new(loader: Loader) -> Self {
        Self {
            loader,
            read: None,
            hung: None,
            again: None,
            time_max: READ_TIME_MAX,
            begun: 0,
        }
    }

    /// Begins to read; once more behind a read that is under way. Returns the number of the read that
    /// sees what there is now.
    pub(super) fn begin(&mut self, why: Why) -> u64 {
        if self.read.is_some() {
            self.again = Some(why);
            return self.begun + 1;
        }
        self.begun += 1;
        self.hung.take_if(|hung| hung.is_finished());
        let (loader, hangs) = (self.loader.clone(), self.hung.is_some());
        let handle = spawn_blocking(move || match hangs {
            true => Err(LoadError::Hangs),
            false => loader.read(),
        });
        let until = Instant::now() + self.time_max;
        self.read = Some(Read { handle, until, why });
        self.begun
    }

    /// Waits for the configuration; for ever if none is being read. May be dropped and called
    /// again.
    pub(super) async fn loaded(&mut self) -> Loaded {
        let Some(read) = &mut self.read else {
            return pending().await;
        };
        let loaded = timeout_at(read.until, &mut read.handle).await;
        let why = read.why;
        let read = self.read.take();
        let result = match loaded {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_panicked)) => Err(LoadError::Panicked),
            Err(_elapsed) => {
                self.hung = read.map(|read| read.handle);
                Err(LoadError::TimedOut(self.time_max))
            }
        };
        let number = self.begun;
        if let Some(why) = self.again.take() {
            self.begin(why);
        }
        Loaded {
            number,
            why,
            result,
        }
    }
}

/// Far above what any disk takes.
const READ_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::{Config, Environment, Flags};

    // Not in paused time, which stands still while a thread reads.
    #[tokio::test]
    async fn a_read_that_hangs_holds_nothing_up() {
        let (go_on, waits) = mpsc::channel::<()>();
        let waits = std::sync::Mutex::new(waits);
        let mut loading = Loading::new(Loader {
            load: Arc::new(move || {
                let _closed = waits.lock().unwrap().recv();
                Config::check(&Flags::default(), &Environment::default())
            }),
            file: None,
        });
        loading.time_max = Duration::from_millis(20);
        for expected in ["took longer than 20ms", "still hangs"] {
            loading.begin(Why::Asked);
            let error = loading.loaded().await.result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        drop(go_on);
    }

    #[tokio::test]
    async fn only_a_regular_file_is_read_again() {
        let mut loading = Loading::new(Loader {
            load: Arc::new(|| unreachable!("it must not be read")),
            file: Some("/dev/zero".into()),
        });
        loading.begin(Why::Asked);
        let error = loading.loaded().await.result.unwrap_err().to_string();
        assert!(error.contains("/dev/zero is not a regular file"), "{error}");
    }
}
