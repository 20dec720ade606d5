//! From process signals to commands.

use std::{io, thread};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::control::Command;

/// Starts a thread that turns SIGTERM and SIGINT into [`Command::Stop`] and SIGHUP into
/// [`Command::Reload`]. The handlers are installed when this returns, so no signal is lost that
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
    let mut hangup = signal(SignalKind::hangup())?;
    drop(guard);
    let forward = async move {
        loop {
            let command = tokio::select! {
                _ = terminate.recv() => Command::Stop,
                _ = interrupt.recv() => Command::Stop,
                _ = hangup.recv() => Command::Reload,
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
