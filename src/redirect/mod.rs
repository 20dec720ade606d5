//! The redirect rule: where a player fetches a video.
//!
//! Pure: no I/O, no clock, no counter. The caller brings the *turn* (see `state::Turns`), so
//! the share that goes to the origin is decided here and counted elsewhere. Called by
//! `data::redirect` for gRPC and for HTTP alike.

use std::num::NonZeroU64;

mod cdn;
mod clusters;
mod reason;
mod rejection;
mod video_url;

pub use cdn::{CdnBase, CdnBaseError, is_host_name};
pub use clusters::{ClusterError, OriginClusters};
pub use reason::RejectReason;
pub use rejection::Rejection;
pub use video_url::{VIDEO_URL_BYTES_MAX, VideoUrl};

/// Which videos are served, where the CDN is, and how often the origin answers itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedirectPolicy {
    /// The CDN's part of an answer.
    pub cdn: CdnBase,
    /// Every how many accepted calls the origin's own URL is the answer. 1 means always.
    pub origin_every: NonZeroU64,
    /// The origins whose videos are served.
    pub clusters: OriginClusters,
}

impl RedirectPolicy {
    /// Checks a video URL. Costs one pass over its bytes and allocates nothing.
    ///
    /// # Errors
    ///
    /// The first fault found, in the order of [`Rejection`]'s variants. A rejected URL must
    /// take no turn.
    pub fn accept<'a>(&self, video: &'a str) -> Result<VideoUrl<'a>, Rejection> {
        VideoUrl::parse(video, &self.clusters)
    }

    /// Decides who answers the accepted call number `turn`. Turns start at 1.
    pub fn target(&self, turn: u64) -> Target {
        if turn.is_multiple_of(self.origin_every.get()) {
            Target::Origin
        } else {
            Target::Cdn
        }
    }

    /// Writes the CDN's address of a video: the CDN base, the server, and everything after the
    /// authority, byte for byte. Costs one allocation.
    pub fn cdn_url(&self, video: &VideoUrl<'_>) -> String {
        let base = self.cdn.for_scheme(video.scheme());
        let mut url =
            String::with_capacity(base.len() + 1 + video.server().len() + video.rest().len());
        url.push_str(base);
        url.push('/');
        let server_from = url.len();
        url.push_str(video.server());
        // One asset has one CDN address, however the host was spelled.
        url[server_from..].make_ascii_lowercase();
        url.push_str(video.rest());
        url
    }
}

/// Who a player fetches a video from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// The origin itself: the answer is the video URL, byte for byte.
    Origin,
    /// The cache in front of it.
    Cdn,
}

/// The scheme of a video URL. Nothing else is ever redirected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
}

#[cfg(test)]
mod tests;
