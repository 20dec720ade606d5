//! The redirect rule under any input: it must never be an open redirector.

use std::num::NonZeroU64;

use proptest::prelude::*;
use weir::redirect::{CdnBase, OriginClusters, RedirectPolicy, Rejection};

#[path = "../../fuzz/src/checks/redirect.rs"]
mod checks;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_leads_to_the_cdn_or_the_origin(video in any::<String>()) {
        checks::redirect_is_never_open(&video);
    }

    #[test]
    fn url_like_text_leads_to_the_cdn_or_the_origin(
        video in r"(http|https|HTTP|ftp)?:?/{0,3}([a-zA-Z0-9.@:\[\]%\\-]{0,12}|s1|xn--[a-z0-9-]{1,8}|0x[0-9a-f]{1,3})\.?(origin-cluster|example\.com|[0-9.]{1,8})?(:[0-9]{0,6})?[/?#]?[ -~]{0,20}"
    ) {
        checks::redirect_is_never_open(&video);
    }

    #[test]
    fn well_formed_url_of_an_origin_is_carried_over(
        server in "[a-zA-Z0-9-]{1,63}", path in r"/[!-\[\]-~]{0,200}", scheme in "https?"
    ) {
        prop_assume!(!server.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")));
        let policy = RedirectPolicy {
            cdn: CdnBase::parse("cdn").unwrap(),
            origin_every: NonZeroU64::MIN,
            clusters: OriginClusters::new(&["origin-cluster"]).unwrap(),
        };
        let video = format!("{scheme}://{server}.origin-cluster{path}");
        let accepted = match policy.accept(&video) {
            Err(Rejection::DotSegment { .. }) => return Ok(()),
            accepted => accepted.unwrap(),
        };
        prop_assert_eq!(policy.cdn_url(&accepted), format!("{scheme}://cdn/{}{path}", server.to_lowercase()));
        prop_assert!(checks::redirect_is_never_open(&video) > 0);
    }
}
