//! What the kernel says of this process: CPU time and memory. Linux alone tells; elsewhere nothing is known.

use std::fs;

use tokio::time::Duration;

/// The process as the kernel sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// CPU time since the process began.
    pub(super) cpu: Option<Duration>,
    /// Memory that is resident.
    pub(super) memory_bytes: Option<u64>,
    /// The CPU time of each worker's thread, by the worker's index.
    pub(super) workers: Vec<Option<Duration>>,
}

impl Usage {
    /// Reads it for a number of workers. Costs a few small files, and one for each thread.
    pub(super) fn now(workers: usize) -> Self {
        let mut usage = Self {
            cpu: cpu_time("/proc/self/stat"),
            memory_bytes: memory_bytes(),
            workers: vec![None; workers],
        };
        let Ok(threads) = fs::read_dir("/proc/self/task") else {
            return usage;
        };
        for thread in threads.flatten() {
            let path = thread.path();
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            let index = name.trim().strip_prefix("weir-worker-");
            let index: Option<usize> = index.and_then(|index| index.parse().ok());
            if let Some(worker) = index.and_then(|index| usage.workers.get_mut(index)) {
                *worker = cpu_time(path.join("stat").to_str().unwrap_or_default());
            }
        }
        usage
    }
}

/// The sum of the 14th and the 15th field, in ticks (proc(5)). The second field may have spaces.
fn cpu_time(file: &str) -> Option<Duration> {
    let stat = fs::read_to_string(file).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_nanos(
        (user + system).saturating_mul(1_000_000_000 / ticks),
    ))
}

/// The second field, in pages.
fn memory_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
