//! Says something to a server, and waits for what it has to say.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{config::TextProbe, control::prober::ProbeFailure, net::Transport};

/// Sends and expects what a probe has; a probe that has neither only needs the connection.
///
/// # Errors
///
/// When the expected text is not among the first 16 KiB.
pub(super) async fn ask(mut server: Transport, probe: &TextProbe) -> Result<(), ProbeFailure> {
    if let Some(text) = &probe.send {
        server.write_all(text.as_bytes()).await?;
    }
    let Some(expected) = &probe.expect else {
        return Ok(());
    };
    let mut answer = Vec::new();
    while !contains(&answer, expected.as_bytes()) {
        let read = server.read_buf(&mut answer).await?;
        if read == 0 || answer.len() > ANSWER_BYTES_MAX {
            return Err(ProbeFailure::Text(expected.clone()));
        }
    }
    // In good order, so that the server logs no reset.
    let _gone_already = server.shutdown().await;
    Ok(())
}

fn contains(answer: &[u8], expected: &[u8]) -> bool {
    expected.is_empty()
        || answer
            .windows(expected.len())
            .any(|window| window == expected)
}

const ANSWER_BYTES_MAX: usize = 16 * 1024;
