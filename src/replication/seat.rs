//! Which server of an upstream gets writes.
//!
//! After a failover the old primary may come back and take writes, too, on its older timeline. Writes to
//! it would be lost. So the primary that is in use stays in use until it is down, and only a server of the
//! same cluster on the same or a newer timeline takes its place.

/// A server that says that it is the primary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Primary {
    /// Its id among backends.
    pub server: usize,
    /// What it writes.
    pub timeline: Timeline,
}

/// A history of a cluster: each promotion begins the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeline {
    /// The cluster's system identifier, which all its servers share.
    pub system: i64,
    /// Its number.
    pub number: u32,
}

impl Timeline {
    /// Whether writes to it cannot fork what the other one has.
    fn continues(self, other: Self) -> bool {
        self.system == other.system && self.number >= other.number
    }
}

/// The place of the one server that gets writes.
#[derive(Debug, Default)]
pub struct PrimarySeat {
    holder: Option<usize>,
    /// That of the latest server in use.
    latest: Option<Timeline>,
}

impl PrimarySeat {
    /// A seat that only a server which continues this timeline may take.
    pub fn after(latest: Option<Timeline>) -> Self {
        Self {
            holder: None,
            latest,
        }
    }

    /// Whether a server has it.
    pub fn is_taken(&self) -> bool {
        self.holder.is_some()
    }

    /// The timeline of the latest server in use.
    pub fn latest(&self) -> Option<Timeline> {
        self.latest
    }

    /// Gives the seat to one of the servers that are up and say that they are the primary, and tells
    /// which: the one that has it, if it is among them, or else the one on the newest timeline. `None`
    /// where none may have it.
    pub fn give(&mut self, primaries: &[Primary]) -> Option<usize> {
        let may_have_it = |primary: &&Primary| {
            let latest = self.latest;
            latest.is_none_or(|latest| primary.timeline.continues(latest))
        };
        let candidates = || primaries.iter().filter(may_have_it);
        let holder = candidates().find(|primary| Some(primary.server) == self.holder);
        // The first of the newest.
        let newest = || {
            candidates()
                .rev()
                .max_by_key(|primary| primary.timeline.number)
        };
        let chosen = holder.or_else(newest).copied();
        self.holder = chosen.map(|primary| primary.server);
        if let Some(primary) = chosen {
            self.latest = Some(primary.timeline);
        }
        self.holder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(server: usize, number: u32) -> Primary {
        let timeline = Timeline { system: 7, number };
        Primary { server, timeline }
    }

    #[track_caller]
    fn check(seat: &mut PrimarySeat, primaries: &[(usize, u32)], expected: Option<usize>) {
        let primaries: Vec<Primary> = primaries
            .iter()
            .map(|&(server, number)| primary(server, number))
            .collect();
        assert_eq!(seat.give(&primaries), expected);
    }

    #[test]
    fn the_primary_in_use_stays_in_use() {
        let mut seat = PrimarySeat::default();
        check(&mut seat, &[(1, 1)], Some(1));
        check(&mut seat, &[(0, 1), (1, 1), (2, 2)], Some(1));
    }

    #[test]
    fn a_promoted_server_follows_one_that_is_down() {
        let mut seat = PrimarySeat::default();
        check(&mut seat, &[(1, 1)], Some(1));
        check(&mut seat, &[], None);
        check(&mut seat, &[(2, 2)], Some(2));
    }

    #[test]
    fn an_old_primary_that_comes_back_gets_nothing() {
        let mut seat = PrimarySeat::default();
        check(&mut seat, &[(1, 1)], Some(1));
        check(&mut seat, &[(2, 2)], Some(2));
        check(&mut seat, &[(1, 1), (2, 2)], Some(2));
        check(&mut seat, &[(1, 1)], None);
        check(&mut seat, &[(1, 1), (2, 2)], Some(2));
    }

    #[test]
    fn the_newest_timeline_is_chosen_at_the_start() {
        check(
            &mut PrimarySeat::default(),
            &[(1, 1), (2, 2), (3, 2)],
            Some(2),
        );
        let latest = Some(primary(9, 2).timeline);
        check(&mut PrimarySeat::after(latest), &[(1, 1)], None);
        check(&mut PrimarySeat::after(latest), &[(1, 1), (4, 2)], Some(4));
    }

    /// A server that was restored from an older backup at the same address.
    #[test]
    fn an_older_timeline_at_the_same_server_is_refused() {
        let mut seat = PrimarySeat::default();
        check(&mut seat, &[(1, 2)], Some(1));
        check(&mut seat, &[(1, 1)], None);
    }

    #[test]
    fn a_server_of_another_cluster_is_refused() {
        let mut seat = PrimarySeat::default();
        check(&mut seat, &[(1, 1)], Some(1));
        let timeline = Timeline {
            system: 8,
            number: 5,
        };
        let foreign = Primary {
            server: 2,
            timeline,
        };
        assert_eq!(seat.give(&[foreign]), None);
    }
}
