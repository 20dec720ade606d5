//! `nginx.conf`: words to a tree of directives, blocks to a plan.

mod http;
mod listen;
mod location;
mod others;
mod proxy_headers;
mod rate_limits;
mod server;
mod settings;
mod stream;
mod targets;
mod tree;
mod units;
mod upstream;

use crate::import::{plan::Plan, remark::Remarks, syntax::Fault};
use tree::Directive;

/// Reads a file. Directives of `http` may also stand outside of one, as in a file that is included.
///
/// # Errors
///
/// Where the text is no configuration of nginx's.
pub(super) fn read(text: &str, remarks: &mut Remarks) -> Result<Plan, Fault> {
    let tree = tree::parse(text)?;
    let mut plan = Plan::default();
    let mut of_http: Vec<&Directive> = Vec::new();
    let mut of_stream: Vec<&Directive> = Vec::new();
    for directive in &tree {
        match directive.name.as_str() {
            "http" => of_http.extend(directive.children()),
            "stream" => of_stream.extend(directive.children()),
            "mail" => remarks.left_out(directive.line, "mail", "Weir balances http and tcp"),
            "events" => remarks.not_needed(directive.line, "events", "Weir has no such switch"),
            _ => of_http.push(directive),
        }
    }
    let mut names = crate::import::plan::Names::default();
    stream::read(&of_stream, &mut plan, &mut names, remarks);
    http::read(&of_http, &mut plan, &mut names, remarks);
    Ok(plan)
}
