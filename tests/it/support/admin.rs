//! Requests of the admin API.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::http1;

/// An answer of the API.
#[derive(Debug)]
pub struct AdminAnswer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl AdminAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

/// Sends a request with whatever headers.
pub async fn admin(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> AdminAnswer {
    let host = match headers.contains("Host:") {
        true => String::new(),
        false => format!("Host: {addr}\r\n"),
    };
    let length = match body.is_empty() && method == "GET" {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n{body}"
    );
    let (head, body) = http1(addr, &request).await;
    let status = head[9..12].parse().unwrap();
    // The middleware's own refusals are text.
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    AdminAnswer { status, head, body }
}

/// The header of a body in JSON.
pub const JSON: &str = "Content-Type: application/json\r\n";
