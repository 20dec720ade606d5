//! `weir clients` and `weir explain`: what the admin API does, from the command line.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value does not have is null"
)]

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
};

use clap::{Args, Subcommand};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::{
    admin_client::{self, AdminError},
    config::Flags,
};

/// What to do with registered clients.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientsCommand {
    /// Show all clients
    List(Flags),
    /// Register a client, or change its limit and networks
    Set {
        /// What it is to be
        #[command(flatten)]
        client: ClientArguments,
        /// Settings that win over the environment and the file.
        #[command(flatten)]
        flags: Flags,
    },
    /// Remove a client with its networks and keys
    Delete {
        /// The client's ID
        client_id: String,
        /// Settings that win over the environment and the file.
        #[command(flatten)]
        flags: Flags,
    },
}

impl ClientsCommand {
    /// The flags that tell where the process is.
    pub fn flags(&mut self) -> &mut Flags {
        match self {
            Self::List(flags) | Self::Set { flags, .. } | Self::Delete { flags, .. } => flags,
        }
    }
}

/// A client that is to be.
#[derive(Args, Clone, Debug)]
pub struct ClientArguments {
    /// The client's ID; an address or a network, such as 10.0.0.0/8, stands for it
    client_id: String,
    /// Requests that it may make at once
    #[arg(long, value_name = "NUMBER")]
    capacity: u32,
    /// Requests a second that it may make in the long run
    #[arg(long, value_name = "NUMBER")]
    rate_per_sec: f64,
    /// A further address or network; may be given several times
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
}

/// What to explain.
#[derive(Args, Clone, Debug)]
pub struct ExplainArguments {
    /// The URL of a redirect call
    #[arg(long, value_name = "URL", conflicts_with_all = ["listener", "host", "path", "client"])]
    video: Option<String>,
    /// The listener of a request [default: the first one]
    #[arg(long, value_name = "ADDRESS")]
    listener: Option<String>,
    /// The host of a request
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The path of a request [default: /]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The address of the client [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
}

/// Why a command of the API does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The API refuses it.
    #[error("{0}")]
    Refused(String),
    /// The result cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The running process, as these commands reach it.
#[derive(Clone, Debug)]
pub struct Api {
    /// Its admin listener.
    pub admin: SocketAddr,
    /// What changes need there.
    pub token: Option<String>,
}

impl Api {
    /// Lists or changes registered clients, and prints the result.
    ///
    /// # Errors
    ///
    /// Why that is not done.
    pub fn clients(&self, command: &ClientsCommand) -> Result<(), ApiError> {
        let text = match command {
            ClientsCommand::List(_) => self.list()?,
            ClientsCommand::Set { client, .. } => self.set(client)?,
            ClientsCommand::Delete { client_id, .. } => {
                self.call(&Method::DELETE, &path(client_id), None)?;
                format!("{client_id} is removed\n")
            }
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }

    fn list(&self) -> Result<String, ApiError> {
        let mut text = String::new();
        let mut cursor = String::new();
        loop {
            let cursor_text = utf8_percent_encode(&cursor, NON_ALPHANUMERIC);
            let page = format!("/api/v1/clients?limit=1000&cursor={cursor_text}");
            let page = self.call(&Method::GET, &page, None)?;
            for client in page["clients"].as_array().into_iter().flatten() {
                text.push_str(&line(client));
            }
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return Ok(text),
            }
        }
    }

    fn set(&self, arguments: &ClientArguments) -> Result<String, ApiError> {
        let body = json!({
            "capacity": arguments.capacity,
            "rate_per_sec": arguments.rate_per_sec,
            "networks": arguments.networks,
        });
        let client = self.call(&Method::PUT, &path(&arguments.client_id), Some(&body))?;
        let mut text = line(&client);
        if let Some(key) = client["api_key"].as_str() {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "API key, which is not shown again: {key}");
        }
        Ok(text)
    }

    /// Prints what a redirect call or a request would get, and why.
    ///
    /// # Errors
    ///
    /// Why there is no explanation.
    pub fn explain(&self, arguments: &ExplainArguments) -> Result<(), ApiError> {
        let query = [
            ("video", &arguments.video),
            ("listener", &arguments.listener),
            ("host", &arguments.host),
            ("path", &arguments.path),
            ("client", &arguments.client),
        ];
        let query = query.into_iter().filter_map(|(name, value)| {
            let value = utf8_percent_encode(value.as_deref()?, NON_ALPHANUMERIC);
            Some(format!("{name}={value}"))
        });
        let query: Vec<String> = query.collect();
        let path = format!("/api/v1/explain?{}", query.join("&"));
        let explanation = self.call(&Method::GET, &path, None)?;
        io::stdout().write_all(explained(&explanation).as_bytes())?;
        Ok(())
    }

    fn call(&self, method: &Method, path: &str, body: Option<&Json>) -> Result<Json, ApiError> {
        let token = self.token.as_deref();
        let (status, answer) = admin_client::call(self.admin, method, path, token, body)?;
        let answer: Json = serde_json::from_slice(&answer).unwrap_or_default();
        match status.is_success() {
            true => Ok(answer),
            false => {
                let detail = answer["detail"].as_str().map(str::to_owned);
                Err(ApiError::Refused(
                    detail.unwrap_or_else(|| status.to_string()),
                ))
            }
        }
    }
}

fn path(client_id: &str) -> String {
    let id = utf8_percent_encode(client_id, NON_ALPHANUMERIC);
    format!("/api/v1/clients/{id}")
}

/// A client in one line.
fn line(client: &Json) -> String {
    let id = client["client_id"].as_str().unwrap_or_default();
    let (capacity, rate) = (&client["capacity"], &client["rate_per_sec"]);
    let list = |name: &str| {
        let items = client[name].as_array().into_iter().flatten();
        items
            .filter_map(Json::as_str)
            .collect::<Vec<&str>>()
            .join(" ")
    };
    let (networks, keys) = (list("networks"), list("keys"));
    let mut line = format!("{id}: {capacity} at once, {rate} a second");
    for (name, items) in [("networks", networks), ("keys", keys)] {
        if !items.is_empty() {
            let _ = write!(line, "; {name} {items}");
        }
    }
    line + "\n"
}

/// The steps, and what comes of them.
fn explained(explanation: &Json) -> String {
    let steps = explanation["why"].as_array().into_iter().flatten();
    let mut text: String = steps
        .filter_map(Json::as_str)
        .map(|step| format!("{step}\n"))
        .collect();
    let request = &explanation["request"];
    for limit in request["limits"].as_array().into_iter().flatten() {
        let name = limit["limit"].as_str().unwrap_or_default();
        let (tokens, capacity, cost) = (&limit["tokens"], &limit["capacity"], &limit["cost"]);
        let _ = writeln!(
            text,
            "limit {name}: {tokens} of {capacity} left, a request costs {cost}"
        );
    }
    if let Some(redirect) = explanation["redirect"]["redirect"].as_str() {
        let _ = writeln!(text, "-> {redirect}");
    }
    if let Some(backend) = request["backend"].as_str() {
        let _ = writeln!(text, "-> {backend}");
    }
    if let Some(status) = request["status"].as_u64() {
        let _ = writeln!(text, "-> {status}");
    }
    text
}
