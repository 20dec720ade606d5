//! `haproxy.cfg`: lines to words, words to sections, sections to a plan.

mod acl;
mod bind;
mod checks;
mod directives;
mod headers;
mod options;
mod proxy;
mod routes;
mod sections;
mod server;
mod stats;
mod translate;
mod units;
mod upstreams;
mod words;

pub(super) use sections::is_section;

use crate::import::{plan::Plan, remark::Remarks, syntax::Fault};

/// Reads a file.
///
/// # Errors
///
/// Where the text is no configuration of HAProxy's.
pub(super) fn read(text: &str, remarks: &mut Remarks) -> Result<Plan, Fault> {
    let sections = sections::sections(text, remarks)?;
    let proxies = proxy::proxies(&sections, remarks)?;
    Ok(translate::plan(proxies, remarks))
}
