//! `stats`: Weir's admin listener takes the place of HAProxy's page.

use crate::import::{haproxy::words::Line, remark::Remarks};

/// What a section says of statistics.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    /// Where they are switched on.
    pub(super) enabled: Option<usize>,
}

impl Stats {
    /// `stats …`
    pub(super) fn read(&mut self, line: &Line, remarks: &mut Remarks) {
        let what = line.head(2);
        match line.word(1) {
            "enable" => self.enabled = Some(line.number),
            "uri" => {
                self.enabled.get_or_insert(line.number);
                let reason =
                    "the admin listener shows the state at /status, the numbers at /metrics";
                remarks.nearly(line.number, &line.head(3), reason);
            }
            // The password stays where it is.
            "auth" => {
                self.enabled.get_or_insert(line.number);
                let reason = "admin pages are open to all who reach the listener; changes need WEIR_ADMIN_TOKEN";
                remarks.left_out(line.number, &what, reason);
            }
            "admin" => remarks.left_out(
                line.number,
                &what,
                "changes need WEIR_ADMIN_TOKEN, see the admin API",
            ),
            "refresh" | "realm" | "hide-version" | "show-legends" | "show-desc" | "show-node"
            | "show-modules" | "scope" => {
                remarks.left_out(line.number, &what, "Weir has no statistics page to set up");
            }
            _ => remarks.left_out(line.number, &what, "Weir has no equivalent"),
        }
    }
}
