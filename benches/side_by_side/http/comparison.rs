//! The ratio of each peer to the better of nginx and HAProxy.

use crate::{http::peers::Peer, rounds::median};

/// For each peer the median of its cost over the least that a rival had in the same round.
pub fn ratios<F>(peers: &[Peer], all: &[Vec<F>], cost: impl Fn(&F) -> f64) -> Vec<f64> {
    let best = best_rivals(peers, all, &cost);
    all.iter()
        .map(|figures| {
            median(
                figures
                    .iter()
                    .zip(&best)
                    .map(|(own, best)| cost(own) / best),
            )
        })
        .collect()
}

/// The least that any of the rivals needed, by round.
fn best_rivals<F>(peers: &[Peer], all: &[Vec<F>], cost: impl Fn(&F) -> f64) -> Vec<f64> {
    let rivals: Vec<&Vec<F>> = peers
        .iter()
        .zip(all)
        .filter(|(peer, _)| peer.is_rival(peers))
        .map(|(_, figures)| figures)
        .collect();
    let rounds = 0..rivals.first().map_or(0, |figures| figures.len());
    rounds
        .map(|round| {
            let costs = rivals.iter().map(|figures| cost(&figures[round]));
            costs.fold(f64::INFINITY, f64::min)
        })
        .collect()
}
