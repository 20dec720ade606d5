//! The last five minutes, for charts.

use serde::Serialize;

use crate::control::stats::{Recorder, Stats};

/// The latest points of a few series, the oldest first, one a second.
#[derive(Clone, Debug, Serialize)]
pub(in crate::control) struct History {
    /// The number of the first point, counted from the start of the process.
    pub(in crate::control) first: u64,
    /// Redirect calls a second, and those that were sent to the origin, if there is that service.
    pub(in crate::control) redirect: Vec<f32>,
    /// For each of the first upstreams: its name, requests a second, and 5xx responses a second.
    pub(in crate::control) upstreams: Vec<(String, Vec<f32>, Vec<f32>)>,
}

/// One second.
#[derive(Clone, Debug)]
pub(super) struct Point {
    redirect: f32,
    upstreams: Vec<(String, f32, f32)>,
}

impl Recorder {
    /// Keeps a look for the charts.
    pub(super) fn remember(&mut self, stats: &Stats) {
        if self.history.len() == POINTS_MAX {
            self.history.pop_front();
        }
        let redirect = stats.redirect.as_ref();
        let upstreams = stats.upstreams.iter().take(CHARTED_UPSTREAMS);
        let upstreams = upstreams.map(|upstream| {
            (
                upstream.name.clone(),
                upstream.requests_per_second as f32,
                upstream.errors_per_second as f32,
            )
        });
        self.history.push_back(Point {
            redirect: redirect.map_or(0.0, |redirect| redirect.calls_per_second as f32),
            upstreams: upstreams.collect(),
        });
    }

    /// The history of what is there now. An upstream that came later has zeros before.
    pub(super) fn history(&self, stats: &Stats) -> History {
        let points = self.history.len() as u64;
        let of_upstream = |name: &str| {
            let points = self.history.iter().map(|point| {
                let mut upstreams = point.upstreams.iter();
                let found = upstreams.find(|(other, _, _)| other == name);
                found.map_or((0.0, 0.0), |&(_, requests, errors)| (requests, errors))
            });
            let (requests, errors) = points.unzip();
            (name.to_owned(), requests, errors)
        };
        let upstreams = stats.upstreams.iter().take(CHARTED_UPSTREAMS);
        History {
            first: self.looks.saturating_sub(points),
            redirect: self.history.iter().map(|point| point.redirect).collect(),
            upstreams: upstreams
                .map(|upstream| of_upstream(&upstream.name))
                .collect(),
        }
    }
}

const POINTS_MAX: usize = 300;
/// Upstreams that have a chart: the first ones.
pub(in crate::control) const CHARTED_UPSTREAMS: usize = 16;
