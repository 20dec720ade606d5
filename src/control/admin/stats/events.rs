//! The page, live: server-sent events (HTML Living Standard, section 9.2), one a second, each with the
//! parts that have changed since the last one that this reader got.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body::Frame;
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Duration, timeout},
};

use crate::{
    control::{
        admin::{
            Admin,
            stats::{fragments, page},
        },
        stats::{Look, Recorded},
    },
    shutdown::{Phase, PhaseReceiver},
};

/// Sends events until the reader leaves, takes nothing for too long, or the process stops.
pub(super) async fn stream(State(admin): State<Admin>) -> Response {
    let Ok(place) = Arc::clone(&admin.event_streams).try_acquire_owned() else {
        let text = "too many pages follow at a time\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let (events, body) = mpsc::channel(EVENTS_WAITING_MAX);
    let reader = Reader {
        events,
        sent: HashMap::new(),
        _place: place,
    };
    tokio::spawn(reader.follow(admin.stats, admin.phase));
    // nginx and other proxies must neither hold events back nor change them.
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(Events(body))).into_response()
}

/// A page that follows.
struct Reader {
    events: mpsc::Sender<Bytes>,
    /// What it has, by the ids of elements.
    sent: HashMap<String, String>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    async fn follow(mut self, mut looks: Recorded, mut phase: PhaseReceiver) {
        let first = looks.current();
        let event = self.event(&first);
        if self.send(event).await.is_err() {
            return;
        }
        loop {
            let look = tokio::select! {
                _ = phase.wait_for(|&phase| phase >= Phase::Draining) => break,
                look = looks.next() => look,
            };
            let Some(look) = look else {
                break;
            };
            let event = self.event(&look);
            if self.send(event).await.is_err() {
                return;
            }
        }
        // The page asks the next process after a second.
        let _left = self.send("retry: 1000\n\n".to_owned()).await;
    }

    /// The event of a look: the parts that differ from what the page has, and the charts' next points.
    fn event(&mut self, look: &Look) -> String {
        let changed = self.changed(look);
        let history = &look.history;
        let last = |series: &[f32]| series.last().copied().unwrap_or_default();
        let upstreams = history.upstreams.iter();
        let upstreams: Vec<_> = upstreams
            .map(|(name, requests, errors)| json!([name, last(requests), last(errors)]))
            .collect();
        let event = json!({
            "layout": page::layout(&look.stats),
            "fragments": changed,
            "tick": history.first + history.redirect.len().saturating_sub(1) as u64,
            "redirect": last(&history.redirect),
            "upstreams": upstreams,
        });
        format!("data: {event}\n\n")
    }

    /// The parts of the page that differ from what it has.
    fn changed(&mut self, look: &Look) -> HashMap<String, String> {
        let all = fragments::all(&look.stats);
        let changed = all.into_iter().filter(|(id, html)| {
            let is_same = self.sent.get(id) == Some(html);
            if !is_same {
                self.sent.insert(id.clone(), html.clone());
            }
            !is_same
        });
        changed.collect()
    }

    /// Sends an event. A reader that takes none for too long is left.
    async fn send(&self, event: String) -> Result<(), Gone> {
        match timeout(SEND_TIME_MAX, self.events.send(event.into())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_left)) => Err(Gone),
            Err(_elapsed) => Err(Gone),
        }
    }
}

/// The reader has left, or takes nothing.
struct Gone;

/// The body of the response.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.0.poll_recv(cx);
        event.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// Events on their way to one reader; looks that come meanwhile are passed over.
const EVENTS_WAITING_MAX: usize = 1;
const SEND_TIME_MAX: Duration = Duration::from_secs(30);
