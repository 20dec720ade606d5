use std::{
    fs,
    io::Read as _,
    net::IpAddr,
    path::PathBuf,
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use http::Version;
use tempfile::TempDir;

use super::*;

/// An entry whose line tells its number.
fn write(sink: &Sink, number: u64) {
    sink.write(&Entry {
        time: UNIX_EPOCH,
        client: IpAddr::from([192, 0, 2, 1]),
        request: Some(RequestLine {
            method: "GET",
            target: "/",
            version: Version::HTTP_11,
        }),
        host: b"example.org",
        status: 200,
        body_bytes_sent: number,
        body_bytes_received: 0,
        referer: None,
        user_agent: None,
        request_id: b"",
        upstream: None,
        attempts: &[],
        cause: "ok",
        first_byte: None,
        total: Duration::ZERO,
    });
}

/// The numbers of the lines of a log, in order.
fn numbers(log: &str) -> Vec<u64> {
    assert!(
        log.is_empty() || log.ends_with('\n'),
        "the last line is whole"
    );
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["body_bytes_sent"].as_u64().unwrap()
    };
    log.lines().map(number).collect()
}

fn start(directory: &TempDir) -> (PathBuf, AccessLog) {
    let path = directory.path().join("access.log");
    let log = AccessLog::start(&LogTarget::File(path.clone()), LogFormat::Json).unwrap();
    (path, log)
}

fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("not within five seconds");
}

#[test]
fn all_that_dropped_sinks_had_is_on_disk_after_the_end() {
    let directory = TempDir::new().unwrap();
    let (path, log) = start(&directory);
    thread::scope(|scope| {
        for worker in 0..4 {
            let sink = log.sink();
            scope.spawn(move || (0..1_000).for_each(|n| write(&sink, worker * 1_000 + n)));
        }
    });
    log.finish();
    let mut seen = numbers(&fs::read_to_string(path).unwrap());
    seen.sort_unstable();
    assert_eq!(seen, (0..4_000).collect::<Vec<_>>());
    assert_eq!((log.written_lines(), log.lost_lines()), (4_000, 0));
}

#[test]
fn the_last_handle_finishes_when_it_is_dropped() {
    let directory = TempDir::new().unwrap();
    let (path, log) = start(&directory);
    let sink = log.sink();
    write(&sink, 1);
    sink.flush();
    drop(log.clone());
    write(&sink, 2);
    sink.flush();
    drop(log);
    assert_eq!(numbers(&fs::read_to_string(path).unwrap()), [1, 2]);
}

#[test]
fn lines_after_the_end_are_counted_as_lost() {
    let directory = TempDir::new().unwrap();
    let (_path, log) = start(&directory);
    let sink = log.sink();
    log.finish();
    log.finish();
    write(&sink, 1);
    drop(sink);
    assert_eq!((log.written_lines(), log.lost_lines()), (0, 1));
}

#[test]
fn a_flush_brings_lines_to_disk() {
    let directory = TempDir::new().unwrap();
    let (path, log) = start(&directory);
    let sink = log.sink();
    write(&sink, 7);
    sink.flush();
    sink.flush();
    eventually(|| log.written_lines() == 1);
    assert_eq!(numbers(&fs::read_to_string(path).unwrap()), [7]);
}

#[test]
fn an_existing_file_is_appended_to() {
    let directory = TempDir::new().unwrap();
    for number in 0..2 {
        let (_path, log) = start(&directory);
        write(&log.sink(), number);
    }
    let text = fs::read_to_string(directory.path().join("access.log")).unwrap();
    assert_eq!(numbers(&text), [0, 1]);
}

#[test]
fn a_missing_directory_is_an_error() {
    let directory = TempDir::new().unwrap();
    let target = LogTarget::File(directory.path().join("missing/access.log"));
    let error = AccessLog::start(&target, LogFormat::Json).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_full_queue_loses_lines_and_counts_them() {
    // Nobody takes from this queue.
    let (queue, batches) = sync_channel(2);
    let tally = Arc::new(Tally::default());
    let link = Link {
        queue,
        tally: Arc::clone(&tally),
    };
    let sink = Sink::new(LogFormat::Json, link);
    for number in 0..10 {
        write(&sink, number);
        write(&sink, number);
        sink.flush();
    }
    assert_eq!(tally.lost.load(Ordering::Relaxed), 16);
    let kept: u64 = batches.try_iter().map(|batch| batch.lines).sum();
    assert_eq!(kept, 4);
}

#[test]
fn a_buffer_is_handed_over_at_its_limit() {
    let (queue, batches) = sync_channel(64);
    let tally = Arc::default();
    let sink = Sink::new(LogFormat::Json, Link { queue, tally });
    for number in 0..1_000 {
        write(&sink, number);
    }
    let handed_over: Vec<Batch> = batches.try_iter().collect();
    assert!(handed_over.len() > 3);
    for batch in &handed_over {
        let line = batch.bytes.len() / usize::try_from(batch.lines).unwrap();
        assert!((32 * 1024..=32 * 1024 + line).contains(&batch.bytes.len()));
    }
}

#[test]
fn reopen_after_a_rename_writes_to_the_new_file() {
    let directory = TempDir::new().unwrap();
    let (path, log) = start(&directory);
    let sink = log.sink();
    write(&sink, 1);
    sink.flush();
    eventually(|| log.written_lines() == 1);
    let rotated = directory.path().join("access.log.1");
    fs::rename(&path, &rotated).unwrap();
    write(&sink, 2);
    sink.flush();
    eventually(|| log.written_lines() == 2);
    log.reopen();
    // Without a line, too: a rotation waits for the new file.
    eventually(|| path.exists());
    write(&sink, 3);
    drop(sink);
    log.finish();
    assert_eq!(numbers(&fs::read_to_string(rotated).unwrap()), [1, 2]);
    assert_eq!(numbers(&fs::read_to_string(path).unwrap()), [3]);
}

#[test]
fn a_failed_reopen_keeps_the_old_file() {
    let directory = TempDir::new().unwrap();
    let (path, log) = start(&directory);
    let sink = log.sink();
    let rotated = directory.path().join("access.log.1");
    fs::rename(&path, &rotated).unwrap();
    fs::create_dir(&path).unwrap();
    log.reopen();
    write(&sink, 1);
    drop(sink);
    log.finish();
    assert_eq!(numbers(&fs::read_to_string(rotated).unwrap()), [1]);
}

#[cfg(target_os = "linux")]
#[test]
fn lines_that_a_full_disk_refused_are_lost() {
    let target = LogTarget::File("/dev/full".into());
    let log = AccessLog::start(&target, LogFormat::Json).unwrap();
    write(&log.sink(), 1);
    log.finish();
    assert_eq!((log.written_lines(), log.lost_lines()), (0, 1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_stuck_reader_never_blocks_a_worker() {
    use std::os::fd::AsRawFd as _;

    let (mut reader, pipe) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let log = AccessLog::start(&LogTarget::File(path.into()), LogFormat::Json).unwrap();
    drop(pipe);
    let sink = log.sink();
    // Many times what pipe and queue can hold; with a blocking send this would never end.
    let written = 60_000;
    (0..written).for_each(|number| write(&sink, number));
    drop(sink);
    assert!(log.lost_lines() > 0);
    assert!(log.written_lines() < 1_000, "the writer is stuck");
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    log.finish();
    let read = numbers(&read.join().unwrap());
    assert_eq!(u64::try_from(read.len()).unwrap(), log.written_lines());
    assert_eq!(log.written_lines() + log.lost_lines(), written);
    assert!(read.is_sorted());
}
