//! A real browser that a test drives (W3C WebDriver), without a window.

use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::support::JSON;

/// A running browser with one page. Ends when it is dropped.
pub struct Browser {
    driver: Child,
    addr: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None`, after saying so, on a machine without Chromium and its driver.
    pub async fn start(test: &str) -> Option<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = driver else {
            assert!(
                std::env::var_os("TESTS_SKIP_NOTHING").is_none(),
                "{test} needs chromedriver"
            );
            eprintln!("SKIPPED {test}: there is no chromedriver");
            return None;
        };
        let output = std::io::BufReader::new(driver.stdout.take().unwrap());
        let lines = output.lines();
        let mut lines = lines.map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let mut browser = Self {
            driver,
            addr: SocketAddr::from(([127, 0, 0, 1], port.unwrap())),
            session: String::new(),
            _profile: tempfile::tempdir().unwrap(),
        };
        let profile = browser._profile.path().display().to_string();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            // Containers have little of it.
            "--disable-dev-shm-usage",
            "--no-first-run",
            &format!("--user-data-dir={profile}"),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.ask("POST", "/session", &wanted).await;
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("/session/{id}");
        Some(browser)
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url })).await;
    }

    /// What an expression of JavaScript comes to in the page.
    pub async fn value(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return ({expression})"), "args": [] });
        self.command("/execute/sync", &script).await
    }

    /// Clicks on the first element that a CSS selector finds, as a person would: it must be seen.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        let path = format!("/element/{element}/click");
        self.command(&path, &json!({})).await;
    }

    /// Types into the first element that a CSS selector finds.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        let path = format!("/element/{element}/value");
        self.command(&path, &json!({ "text": text })).await;
    }

    /// A command of Chromium's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = json!({ "cmd": command, "params": parameters });
        self.command("/goog/cdp/execute", &command).await
    }

    /// What the console has said since the last time.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// Writes a picture of the whole page.
    pub async fn picture(&self, file: &Path) {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", wanted).await;
        let decoded = Command::new("base64")
            .args(["--decode"])
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(file).unwrap())
            .spawn();
        let mut decoded = decoded.unwrap();
        let mut input = decoded.stdin.take().unwrap();
        let data = picture["data"].as_str().unwrap();
        input.write_all(data.as_bytes()).unwrap();
        drop(input);
        assert!(decoded.wait().unwrap().success());
    }

    async fn element(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.command("/element", &wanted).await;
        let element = found.as_object().unwrap().values().next().unwrap();
        element.as_str().unwrap().to_owned()
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
            .await
    }

    /// The driver keeps its connections open, whatever it is asked.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let (addr, length) = (self.addr, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{JSON}Content-Length: {length}\r\n\r\n{body}"
        );
        let mut connection = BufReader::new(TcpStream::connect(addr).await.unwrap());
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut length = 0;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).await.unwrap();
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            lines.push(line);
        }
        let mut answer = vec![0; length];
        connection.read_exact(&mut answer).await.unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(lines[0].contains(" 200 "), "{path} {body}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its driver's last session, and the driver asked to leave takes it along.
        let _asked = Command::new("pkill")
            .args(["--parent", &self.driver.id().to_string()])
            .status();
        let _ended = self.driver.kill();
        let _ended = self.driver.wait();
    }
}
