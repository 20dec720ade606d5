//! Tables of raw requests before one balancer: all cases run, and all that fail are shown.

use std::time::Duration;

use crate::support::{End, RecordingBackend, Talk, TestApp, start_balancer, talk};

/// A balancer before one recording backend, and the cases that went wrong.
pub struct Table {
    pub app: TestApp,
    pub backend: RecordingBackend,
    cases: usize,
    failed: Vec<String>,
}

impl Table {
    /// The backend answers 200 to everything; `listener` adds keys.
    pub async fn start(listener: &str) -> Self {
        let backend = RecordingBackend::replying("fine").await;
        let app = start_balancer(&[backend.url()], "", listener, "");
        Self {
            app,
            backend,
            cases: 0,
            failed: Vec::new(),
        }
    }

    /// Sends bytes and reads until the connection ends, or is silent for long.
    pub async fn talk(&self, request: impl AsRef<[u8]>) -> Talk {
        talk(self.app.http.unwrap(), request, PATIENCE).await
    }

    /// Notes a case, which fails unless `holds`.
    pub fn note(&mut self, request: impl AsRef<[u8]>, holds: bool, seen: impl std::fmt::Debug) {
        self.cases += 1;
        if !holds {
            let request = String::from_utf8_lossy(request.as_ref()).into_owned();
            self.failed.push(format!("{request:.300?}: {seen:?}"));
        }
    }

    /// The request is answered by one of these and the connection closes; no backend hears of it.
    pub async fn refuses(&mut self, request: impl AsRef<[u8]>, expected: &[u16]) {
        let before = self.backend.received().concat().len();
        let talk = self.talk(&request).await;
        let one_answer = matches!(talk.statuses()[..], [status] if expected.contains(&status));
        let nothing_forwarded = self.backend.received().concat().len() == before;
        let holds = one_answer && talk.end != End::Open && nothing_forwarded;
        self.note(request, holds, (talk.text(), talk.end, nothing_forwarded));
    }

    /// The body is wrong, which may show only after the head went on: no backend may take what
    /// came for a whole request, nor what follows it for another.
    pub async fn breaks_off(&mut self, request: impl AsRef<[u8]>) {
        let before = self.backend.seen();
        let talk = self.talk(&request).await;
        let after = self.backend.seen();
        let refused = matches!(talk.statuses()[..], [400 | 413]);
        let holds = refused && talk.end != End::Open && after.0.len() == before.0.len();
        self.note(request, holds, (talk.text(), talk.end, after.0.last()));
    }

    /// The request is answered, and the backend gets exactly this method, target, Host and body.
    pub async fn forwards(&mut self, request: impl AsRef<[u8]>, expected: [&str; 4]) {
        let before = self.backend.requests().len();
        let talk = self.talk(&request).await;
        let requests = self.backend.requests();
        let holds = match &requests[before..] {
            [request] => {
                let body = String::from_utf8_lossy(&request.body);
                let host = request.value("host");
                [&request.method, &request.target, host, &body] == expected
                    && matches!(talk.statuses()[..], [200])
            }
            _ => false,
        };
        self.note(request, holds, (talk.text(), talk.end, &requests[before..]));
    }

    /// Fails the test if a case failed, or if not as many ran.
    #[track_caller]
    pub fn finish(self, cases: usize) {
        let (failed, count) = (&self.failed, self.failed.len());
        assert!(failed.is_empty(), "{count} of {}: {failed:#?}", self.cases);
        assert_eq!(self.cases, cases, "cases that ran");
        // Panics if there is a byte that could be read in two ways.
        self.backend.seen();
    }
}

const PATIENCE: Duration = Duration::from_secs(3);
