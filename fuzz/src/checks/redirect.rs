//! A video URL never leads anywhere but to its own origin or to the CDN.

use std::num::NonZeroU64;

use weir::redirect::{CdnBase, OriginClusters, RedirectPolicy};

/// Checks that an accepted video URL leads nowhere but to its own origin or to the CDN, as a
/// browser reads it. Returns how many of the policies accepted it.
///
/// # Panics
///
/// If an answer would lead anywhere else.
pub fn redirect_is_never_open(video: &str) -> usize {
    let policies = [
        policy("cdn.example.com", "origin-cluster"),
        policy("https://cdn:8443/vod", "*"),
        policy("[2001:db8::1]:81", "Example.com"),
    ];
    policies
        .iter()
        .filter(|policy| check(policy, video))
        .count()
}

fn check(policy: &RedirectPolicy, video: &str) -> bool {
    let Ok(accepted) = policy.accept(video) else {
        return false;
    };
    let server = accepted.server().to_ascii_lowercase();
    let origin = url::Url::parse(video).expect("an accepted URL parses");
    let origin_host = origin.host_str().expect("an accepted URL has a host");
    let cluster = origin_host
        .strip_prefix(&server)
        .and_then(|suffix| suffix.strip_prefix('.'))
        .expect("the browser sees the server that was checked");
    assert!(
        policy
            .accept(&format!("http://{server}.{cluster}/"))
            .is_ok()
    );
    assert!(matches!(origin.host(), Some(url::Host::Domain(_))));
    assert!(origin.username().is_empty() && origin.password().is_none());

    let answer = policy.cdn_url(&accepted);
    let cdn = url::Url::parse(&answer).expect("a CDN address parses");
    assert_eq!(cdn.host_str(), Some(policy.cdn.host()), "{answer}");
    assert!(cdn.username().is_empty() && cdn.password().is_none());
    assert!(answer.ends_with(&format!("/{server}{}", accepted.rest())));
    true
}

fn policy(cdn: &str, cluster: &str) -> RedirectPolicy {
    RedirectPolicy {
        cdn: CdnBase::parse(cdn).expect("a fixed CDN base"),
        origin_every: NonZeroU64::MIN,
        clusters: OriginClusters::new(&[cluster]).expect("a fixed cluster"),
    }
}
