//! A backend that answers when the test lets it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::support::{RecordingBackend, ok};

/// Answers 200 with `body`, one request for each permit of the gate.
pub async fn gated(body: &'static str) -> (RecordingBackend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let backend = RecordingBackend::scripted(move |mut wire| {
        let gate = Arc::clone(&opened);
        async move {
            while wire.request().await.is_some() {
                gate.acquire().await.unwrap().forget();
                wire.send(ok(body)).await;
            }
        }
    });
    (backend.await, gate)
}
