//! From process signals to commands.

use std::{fs, io, thread};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::control::Command;

/// Starts a thread that turns SIGTERM, SIGINT and SIGQUIT into [`Command::Stop`], SIGHUP into
/// [`Command::Reload`] and SIGUSR1 into [`Command::ReopenLogs`], as nginx does. A SIGHUP because the
/// terminal was closed is a stop. The handlers are installed when this returns, so no signal is lost that
/// comes during the start.
///
/// # Errors
///
/// When the handlers cannot be installed.
pub fn listen(commands: mpsc::Sender<Command>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    let had_terminal = has_terminal();
    drop(guard);
    let forward = async move {
        loop {
            let command = tokio::select! {
                _ = terminate.recv() => Command::Stop,
                _ = interrupt.recv() => Command::Stop,
                _ = quit.recv() => Command::Stop,
                _ = hangup.recv() => match had_terminal && !has_terminal() {
                    true => Command::Stop,
                    false => Command::Reload,
                },
                _ = user1.recv() => Command::ReopenLogs,
            };
            if commands.send(command).await.is_err() {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("weir-signals".to_owned());
    thread.spawn(move || runtime.block_on(forward))?;
    Ok(())
}

/// Whether the process has a controlling terminal.
fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}
