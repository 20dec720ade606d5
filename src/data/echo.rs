//! A service that sends back what it gets: what one more service costs, as a test.

use tokio::io::{AsyncWriteExt as _, copy, split};

use crate::{net::Transport, state::CloseCause};

/// Greets the client, then sends back what it gets. Speaks first, as PostgreSQL does not but MySQL
/// and SMTP do.
pub(in crate::data) async fn serve(mut transport: Transport) -> CloseCause {
    if transport.write_all(b"hello\n").await.is_err() {
        return CloseCause::ConnectionError;
    }
    let (mut reader, mut writer) = split(transport);
    match copy(&mut reader, &mut writer).await {
        Ok(_bytes) => CloseCause::Done,
        Err(_broken) => CloseCause::ConnectionError,
    }
}
