use std::os::unix::fs::symlink;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// Far below the time of a poll.
const SOON: Duration = Duration::from_secs(10);

fn file_with(content: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, content).unwrap();
    (directory, path)
}

#[track_caller]
fn assert_seen(watch: &ConfigWatch, content: &str) {
    let seen = watch.content.as_deref().map(String::from_utf8_lossy);
    assert_eq!(seen.as_deref(), Some(content));
}

async fn changed(watch: &mut ConfigWatch) {
    timeout(SOON, watch.changed()).await.expect("a change");
}

#[tokio::test]
async fn a_rewrite_in_place_is_seen() {
    let (_directory, path) = file_with("one");
    let mut watch = ConfigWatch::new(path.clone());
    fs::write(&path, "two").unwrap();
    changed(&mut watch).await;
    assert_seen(&watch, "two");
    fs::write(&path, "three").unwrap();
    changed(&mut watch).await;
    assert_seen(&watch, "three");
}

#[tokio::test]
async fn a_file_renamed_over_it_is_seen() {
    let (directory, path) = file_with("one");
    let mut watch = ConfigWatch::new(path.clone());
    for content in ["two", "three"] {
        let new = directory.path().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(&new, &path).unwrap();
        changed(&mut watch).await;
        assert_seen(&watch, content);
    }
}

#[tokio::test]
async fn a_swap_as_kubernetes_does_it_is_seen() {
    let directory = TempDir::new().unwrap();
    let inside = |name: &str| directory.path().join(name);
    let version = |name: &str, content: &str| {
        fs::create_dir(inside(name)).unwrap();
        fs::write(inside(name).join("weir.yaml"), content).unwrap();
    };
    version("..2026_1", "one");
    symlink("..2026_1", inside("..data")).unwrap();
    symlink("..data/weir.yaml", inside("weir.yaml")).unwrap();
    let mut watch = ConfigWatch::new(inside("weir.yaml"));
    for (old, new, content) in [
        ("..2026_1", "..2026_2", "two"),
        ("..2026_2", "..2026_3", "three"),
    ] {
        version(new, content);
        symlink(new, inside("..data_tmp")).unwrap();
        fs::rename(inside("..data_tmp"), inside("..data")).unwrap();
        fs::remove_dir_all(inside(old)).unwrap();
        changed(&mut watch).await;
        assert_seen(&watch, content);
    }
}

#[tokio::test]
async fn the_same_content_is_no_change() {
    let (directory, path) = file_with("one");
    let mut watch = ConfigWatch::new(path.clone());
    fs::write(&path, "one").unwrap();
    fs::write(directory.path().join("other"), "x").unwrap();
    let no_change = timeout(3 * SETTLE_TIME, watch.changed()).await;
    no_change.expect_err("touched only");
    fs::write(&path, "two").unwrap();
    changed(&mut watch).await;
    assert_seen(&watch, "two");
    // Going back and forth in less than the settle time is none either.
    fs::write(&path, "three").unwrap();
    fs::write(&path, "two").unwrap();
    let no_change = timeout(3 * SETTLE_TIME, watch.changed()).await;
    no_change.expect_err("back again");
}

#[tokio::test]
async fn a_vanished_file_is_waited_for() {
    let (_directory, path) = file_with("one");
    let mut watch = ConfigWatch::new(path.clone());
    fs::remove_file(&path).unwrap();
    let no_change = timeout(3 * SETTLE_TIME, watch.changed()).await;
    no_change.expect_err("vanished");
    fs::write(&path, "one").unwrap();
    let no_change = timeout(3 * SETTLE_TIME, watch.changed()).await;
    no_change.expect_err("back as it was");
    fs::write(&path, "two").unwrap();
    changed(&mut watch).await;
    assert_seen(&watch, "two");
}

#[tokio::test]
async fn a_file_that_appears_is_a_change() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("weir.yaml");
    let mut watch = ConfigWatch::new(path.clone());
    fs::write(&path, "one").unwrap();
    changed(&mut watch).await;
    assert_seen(&watch, "one");
}

#[tokio::test]
async fn a_slow_writer_makes_one_change() {
    let (_directory, path) = file_with("one");
    let mut watch = ConfigWatch::new(path.clone());
    let writer = async {
        for part in ["t", "tw", "two"] {
            fs::write(&path, part).unwrap();
            sleep(SETTLE_TIME / 4).await;
        }
    };
    tokio::join!(writer, changed(&mut watch));
    assert_seen(&watch, "two");
}

#[tokio::test]
async fn nothing_is_lost_when_the_wait_is_dropped() {
    let (_directory, path) = file_with("one");
    let mut watch = ConfigWatch::new(path.clone());
    fs::write(&path, "two").unwrap();
    // The event has come, the content has not settled.
    let early = timeout(SETTLE_TIME / 2, watch.changed()).await;
    early.expect_err("not settled");
    changed(&mut watch).await;
    assert_seen(&watch, "two");
}

#[tokio::test]
async fn a_poll_sees_what_makes_no_event() {
    let (_directory, path) = file_with("one");
    let (_no_events, signs) = mpsc::channel(1);
    let poll_interval = Duration::from_millis(50);
    let mut watch = ConfigWatch::with_signs(path.clone(), signs, None, poll_interval);
    fs::write(&path, "two").unwrap();
    changed(&mut watch).await;
    assert_seen(&watch, "two");
}

#[tokio::test]
async fn without_a_directory_to_watch_it_still_polls() {
    let (sender, _signs) = mpsc::channel(1);
    watch(Path::new("/nonexistent/weir.yaml"), sender).unwrap_err();
    // The sender is gone with the failed watch: that must not spin.
    let mut watch = ConfigWatch::new("/nonexistent/weir.yaml".into());
    let no_change = timeout(SETTLE_TIME, watch.changed()).await;
    no_change.expect_err("there is no file");
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_not_read() {
    use std::os::fd::AsRawFd as _;

    let (reader, _writer) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    read(Path::new(&path)).unwrap_err();
}

#[test]
fn reading_is_no_sign_and_an_error_is() {
    let event = |kind| Ok(notify::Event::new(kind));
    let opened = AccessKind::Open(AccessMode::Any);
    assert!(!is_sign(&event(EventKind::Access(opened))));
    assert!(is_sign(&event(EventKind::Modify(ModifyKind::Any))));
    assert!(is_sign(&event(EventKind::Other)), "the queue overflowed");
    assert!(is_sign(&Err(notify::Error::generic("lost"))));
}
