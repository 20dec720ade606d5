//! What the next redirect call would get.

use serde::Serialize;

use crate::{
    control::admin::{Admin, api::explain::Explanation},
    redirect::{RejectReason, Target},
    state::Snapshot,
};

/// The answer of the redirect service to the next call.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct RedirectAnswer {
    is_accepted: bool,
    /// Why it is refused, as in `weir_redirect_rejected_total`.
    reason: Option<&'static str>,
    /// The turn that the next accepted call takes.
    turn: Option<u64>,
    /// `cdn` or `origin`.
    target: Option<&'static str>,
    /// Where the player is sent.
    redirect: Option<String>,
}

/// The answer that a call with this video would get.
pub(super) fn explain_redirect(admin: &Admin, snapshot: &Snapshot, video: &str) -> Explanation {
    let refused = |reason: RejectReason, why: String| Explanation {
        why: vec![why],
        redirect: Some(RedirectAnswer {
            reason: Some(reason.label()),
            ..RedirectAnswer::default()
        }),
        request: None,
    };
    let Some(settings) = &snapshot.redirect else {
        let why = "the redirect service is not configured".to_owned();
        return refused(RejectReason::NotConfigured, why);
    };
    let policy = &settings.policy;
    let accepted = match policy.accept(video) {
        Ok(accepted) => accepted,
        Err(rejection) => return refused(rejection.reason(), format!("refused: {rejection}")),
    };
    let turn = admin.shared.turns.next();
    let every = policy.origin_every;
    let (target, redirect, why) = match policy.target(turn) {
        Target::Cdn => {
            let why =
                format!("turn {turn} is not a multiple of {every}, so the player goes to the CDN");
            ("cdn", policy.cdn_url(&accepted), why)
        }
        Target::Origin => {
            let why =
                format!("turn {turn} is a multiple of {every}, so the player goes to the origin");
            ("origin", accepted.text().to_owned(), why)
        }
    };
    Explanation {
        why: vec![
            format!("the URL is accepted; the next accepted call takes turn {turn}"),
            why,
        ],
        redirect: Some(RedirectAnswer {
            is_accepted: true,
            reason: None,
            turn: Some(turn),
            target: Some(target),
            redirect: Some(redirect),
        }),
        request: None,
    }
}
