//! Which web pages may read the redirect service's answers.

/// Which web pages may read the redirect service's answers (Fetch standard, "CORS protocol"). A
/// browser player reads an answer only if its page's origin is allowed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Cors {
    /// Pages of the service's own origin alone: no header says anything.
    Off,
    /// Pages of any origin. The default: an answer holds nothing that depends on the user.
    #[default]
    Any,
    /// Pages of these origins, each as a browser writes it: `https://player.example`.
    Origins(Vec<String>),
}
