//! Tells the control plane of backends that fail.

use crate::{
    data::context::WorkerContext,
    state::{Backend, Cause, Upstream},
};

/// Counts an attempt that failed by the backend's fault.
pub(in crate::data) fn failed(
    context: &WorkerContext,
    upstream: &Upstream,
    backend: &Backend,
    cause: Cause,
) {
    suspect(context, upstream, backend.stats.failed(cause));
}

/// Tells of a backend that failed often enough in a row to be looked at.
pub(in crate::data) fn suspect(context: &WorkerContext, upstream: &Upstream, in_a_row: u32) {
    let policy = upstream.settings.ejection.as_ref();
    // Not each time: where no backend may be ejected, the count goes on.
    if policy.is_some_and(|policy| in_a_row.is_multiple_of(policy.consecutive_failures.get())) {
        context.shared.suspects.notify_one();
    }
}
