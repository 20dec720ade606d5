//! The origins whose videos are served.

use crate::redirect::video_url::is_domain;

/// The domains that origin servers stand in: one label before one of them is a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginClusters {
    any: bool,
    /// Each with its leading dot, in lower case: `.origin-cluster`.
    suffixes: Box<[Box<str>]>,
}

impl OriginClusters {
    /// Reads the clusters; `*` stands for any host of two labels or more.
    ///
    /// # Errors
    ///
    /// The index and text of the first entry that is neither `*` nor a domain name.
    pub fn new<S: AsRef<str>>(clusters: &[S]) -> Result<Self, ClusterError> {
        let mut any = false;
        let mut suffixes = Vec::with_capacity(clusters.len());
        for (index, cluster) in clusters.iter().enumerate() {
            let cluster = cluster.as_ref();
            if cluster == "*" {
                any = true;
                continue;
            }
            if !is_domain(cluster) {
                let cluster = cluster.to_owned();
                return Err(ClusterError { index, cluster });
            }
            suffixes.push(format!(".{}", cluster.to_ascii_lowercase()).into());
        }
        let suffixes = suffixes.into_boxed_slice();
        Ok(Self { any, suffixes })
    }

    /// The first label of `host` if the host is one label before a cluster. Costs one
    /// comparison for each cluster.
    pub(super) fn server_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        let (server, _) = host.split_once('.')?;
        let suffix = host.get(server.len()..)?;
        let mut listed = self
            .suffixes
            .iter()
            .filter(|cluster| cluster.eq_ignore_ascii_case(suffix));
        (self.any || listed.next().is_some()).then_some(server)
    }
}

/// An entry of the origin clusters that is not a domain name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{cluster:?} is not a domain name such as origin-cluster, and not \"*\"")]
pub struct ClusterError {
    /// Which entry, counted from 0.
    pub index: usize,
    /// Its text.
    pub cluster: String,
}
