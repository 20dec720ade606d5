//! `http-request` and `http-response`: of these Weir sets and removes headers.

use crate::import::{haproxy::words::Line, plan::HeaderRules, remark::Remarks};

/// Reads a rule.
pub(super) fn rule(rules: &mut HeaderRules, line: &Line, remarks: &mut Remarks) {
    let (action, name) = (line.word(1), line.word(2));
    let what = line.head(3);
    let number = line.number;
    let condition = line
        .words
        .iter()
        .any(|word| word == "if" || word == "unless");
    match action {
        "set-header" | "add-header" if is_own(name) => {
            remarks.not_needed(number, &what, format!("Weir always sends {name}"));
        }
        "deny" | "reject" | "tarpit" | "silent-drop" => {
            let reason =
                "Weir refuses no requests but those above a rate limit: these are forwarded";
            remarks.left_out(number, &line.text(), reason);
        }
        "set-header" | "add-header" | "del-header" if condition => {
            remarks.left_out(number, &line.text(), "a route's headers know no conditions");
        }
        "set-header" | "add-header" => set(rules, action, line, remarks),
        "del-header" if line.words.len() == 3 => {
            if let Err(reason) = rules.remove(name) {
                remarks.left_out(number, &what, reason);
            }
        }
        "del-header" => remarks.left_out(
            number,
            &line.text(),
            "headers are removed by their whole names",
        ),
        "track-sc0" | "track-sc1" | "track-sc2" | "sc-inc-gpc0" | "sc-inc-gpc1" => {
            remarks.left_out(number, &what, "see rate_limit for the requests of a client");
        }
        "redirect" => {
            remarks.left_out(number, &line.text(), "Weir's balancer answers no redirects")
        }
        _ => remarks.left_out(number, &line.text(), "Weir changes nothing but headers"),
    }
}

fn set(rules: &mut HeaderRules, action: &str, line: &Line, remarks: &mut Remarks) {
    let (what, value) = (line.head(3), line.word(3));
    // `%%` is a percent sign, `%[…]` and `%x` are replaced.
    let literal = value.replace("%%", "");
    if literal.contains('%') {
        return remarks.left_out(
            line.number,
            &line.text(),
            "values of headers have no variables",
        );
    }
    match rules.set(line.word(2), &value.replace("%%", "%")) {
        Err(reason) => remarks.left_out(line.number, &what, reason),
        Ok(()) if action == "add-header" => {
            remarks.nearly(line.number, &what, "it replaces a header of that name");
        }
        Ok(()) => {}
    }
}

/// What the balancer sends without being told.
fn is_own(name: &str) -> bool {
    let own = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
    ];
    own.contains(&name.to_ascii_lowercase().as_str())
}
