//! What was sent of a request's body, kept while it is little enough to be sent again.

/// The beginning of a body. Grows to [`KEPT_BYTES_MAX`]; a longer body cannot be sent again.
#[derive(Debug, Default)]
pub(super) struct Replay {
    kept: Vec<u8>,
    /// How much of it the current attempt has sent.
    sent: usize,
    is_incomplete: bool,
}

impl Replay {
    /// Keeps what the client sent, and counts it as sent.
    pub(super) fn keep(&mut self, data: &[u8]) {
        if self.is_incomplete {
            return;
        }
        if self.kept.len() + data.len() > KEPT_BYTES_MAX {
            return self.give_up();
        }
        self.kept.extend_from_slice(data);
        self.sent = self.kept.len();
    }

    /// Keeps nothing any more: the body cannot be sent again.
    pub(super) fn give_up(&mut self) {
        *self = Self {
            is_incomplete: true,
            ..Self::default()
        };
    }

    /// Whether the body can be sent from its beginning.
    pub(super) fn is_complete(&self) -> bool {
        !self.is_incomplete
    }

    /// Begins again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// What the current attempt has to send before it goes on with the client's bytes.
    pub(super) fn unsent(&self) -> &[u8] {
        self.kept.get(self.sent..).unwrap_or_default()
    }

    /// Counts all of it as sent.
    pub(super) fn sent(&mut self) {
        self.sent = self.kept.len();
    }
}

/// What one request may hold for its repetition.
const KEPT_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_up_to_the_limit_can_be_sent_again() {
        for (length, complete) in [(KEPT_BYTES_MAX, true), (KEPT_BYTES_MAX + 1, false)] {
            let mut replay = Replay::default();
            replay.keep(&vec![7; length - 1]);
            replay.keep(&[8]);
            assert_eq!((replay.is_complete(), replay.unsent().len()), (complete, 0));
            replay.rewind();
            assert_eq!(replay.unsent().len(), if complete { length } else { 0 });
            replay.sent();
            assert!(replay.unsent().is_empty());
        }
    }
}
