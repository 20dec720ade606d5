//! The lengths of the messages in the body of a gRPC call (gRPC over HTTP2,
//! "Length-Prefixed-Message").

/// Follows the messages of a body, whatever the parts that it comes in.
#[derive(Debug)]
pub struct GrpcMessages {
    bytes_max: u64,
    /// The prefix so far: a flag and the length.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// What is left of the current message.
    left: u64,
}

/// A message is longer than it may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageTooLong;

impl GrpcMessages {
    /// Messages of at most `bytes_max`.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            prefix: [0; PREFIX_BYTES],
            prefix_bytes: 0,
            left: 0,
        }
    }

    /// Follows the next part of the body. Costs a step for each message in it.
    ///
    /// # Errors
    ///
    /// When a message announces more than it may have.
    pub fn follow(&mut self, mut part: &[u8]) -> Result<(), MessageTooLong> {
        while !part.is_empty() {
            if self.left > 0 {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX);
                let length = length.min(part.len());
                self.left -= length as u64;
                part = part.get(length..).unwrap_or_default();
                continue;
            }
            let free = self.prefix.get_mut(self.prefix_bytes..).unwrap_or_default();
            let length = free.len().min(part.len());
            let (start, rest) = part.split_at(length);
            for (slot, byte) in free.iter_mut().zip(start) {
                *slot = *byte;
            }
            self.prefix_bytes += length;
            part = rest;
            if self.prefix_bytes == PREFIX_BYTES {
                self.prefix_bytes = 0;
                let [_flag, length @ ..] = self.prefix;
                self.left = u64::from(u32::from_be_bytes(length));
                if self.left > self.bytes_max {
                    return Err(MessageTooLong);
                }
            }
        }
        Ok(())
    }
}

const PREFIX_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lengths: &[u32]) -> Vec<u8> {
        let message = |length: &u32| {
            let body = vec![7; *length as usize];
            [&[0][..], &length.to_be_bytes(), &body].concat()
        };
        lengths.iter().flat_map(message).collect()
    }

    #[test]
    fn each_message_may_be_so_long_wherever_it_is_split() {
        for (lengths, fits) in [
            (&[][..], true),
            (&[0, 0], true),
            (&[10, 10, 10], true),
            (&[3, 11], false),
        ] {
            let body = messages(lengths);
            for cut in 0..=body.len() {
                let mut messages = GrpcMessages::new(10);
                let (first, second) = body.split_at(cut);
                let followed = messages
                    .follow(first)
                    .and_then(|()| messages.follow(second));
                assert_eq!(followed.is_ok(), fits, "{lengths:?} cut at {cut}");
            }
        }
    }
}
