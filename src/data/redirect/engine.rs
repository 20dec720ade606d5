//! Accepts a video URL, takes a turn, writes the answer and counts it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crate::{
    config::{Cors, Reflection},
    data::redirect::{CallError, cors::CorsAnswer},
    message::RequestHead,
    proto::{Request, Response, load_balancer_server::LoadBalancer},
    redirect::{RejectReason, Target},
    state::{Shared, WorkerStats},
};

/// The redirect service behind its faces. Belongs to one worker, whose statistics it writes.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    worker: usize,
}

impl Engine {
    /// The engine of one worker.
    pub fn new(shared: Arc<Shared>, worker: usize) -> Self {
        Self { shared, worker }
    }

    /// Answers one call. White space around the URL does not count. Costs a snapshot load, an atomic addition and one allocation; none for
    /// an answer that is the origin's own.
    pub(super) fn redirect(&self, video: String) -> Result<String, CallError> {
        guarded(|| self.decide(video))
    }

    fn decide(&self, video: String) -> Result<String, CallError> {
        let snapshot = self.shared.snapshot.load();
        let settings = snapshot.redirect.as_ref().ok_or(CallError::NotConfigured)?;
        let policy = &settings.policy;
        let accepted = policy.accept(&video)?;
        let target = policy.target(self.shared.turns.take());
        self.stats().redirects(target).increment();
        Ok(match target {
            Target::Cdn => policy.cdn_url(&accepted),
            Target::Origin if accepted.text().len() < video.len() => accepted.text().to_owned(),
            Target::Origin => video,
        })
    }

    /// Counts a call that was refused.
    pub(super) fn reject(&self, reason: RejectReason) {
        self.stats().rejected(reason).increment();
    }

    /// Whether a path is of gRPC reflection and that is switched off.
    pub(super) fn is_hidden(&self, path: &str) -> bool {
        let snapshot = self.shared.snapshot.load();
        let settings = snapshot.redirect.as_ref();
        path.starts_with(REFLECTION)
            && settings.is_some_and(|settings| settings.reflection == Reflection::Off)
    }

    /// What the answer to a request over HTTP says of web pages.
    pub(super) fn cors(&self, head: &RequestHead) -> CorsAnswer {
        let snapshot = self.shared.snapshot.load();
        let settings = snapshot.redirect.as_ref();
        CorsAnswer::to(head, settings.map_or(&Cors::Off, |settings| &settings.cors))
    }

    /// The longest that a call's message may take.
    pub(in crate::data) fn call_timeout(&self) -> Duration {
        let snapshot = self.shared.snapshot.load();
        let settings = snapshot.redirect.as_ref();
        settings.map_or(Duration::ZERO, |settings| settings.call_timeout)
    }

    /// The counts of its worker.
    pub(super) fn stats(&self) -> &WorkerStats {
        &self.shared.worker(self.worker).stats
    }
}

/// Both versions of the reflection service.
const REFLECTION: &str = "/grpc.reflection.";

/// The same answers for tonic's generated service, which takes the calls that are not plain.
#[tonic::async_trait]
impl LoadBalancer for Engine {
    async fn redirect(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<tonic::Response<Response>, tonic::Status> {
        let redirect = Self::redirect(self, request.into_inner().video);
        let redirect = redirect.inspect_err(|error| self.reject(error.row().reason))?;
        Ok(tonic::Response::new(Response { redirect }))
    }
}

/// Turns a panic into an error of this one call: the connection and its other calls live on.
fn guarded<T>(decide: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
    // Nothing that outlives the call is left half changed: only counters are shared.
    catch_unwind(AssertUnwindSafe(decide)).unwrap_or(Err(CallError::Panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_one_call_and_nothing_else() {
        let answer = guarded::<()>(|| panic!("deliberate"));
        assert_eq!(answer, Err(CallError::Panic));
        assert_eq!(
            tonic::Status::from(CallError::Panic).code(),
            tonic::Code::Internal
        );
    }
}
