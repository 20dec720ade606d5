//! The access log on disk: one line for each request, whatever became of it.

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Ask, End, FakeBackend, Protocol, RecordingBackend, Script, ask, get,
    logged::{self, Logged, UPGRADE, fields, json, of, outcome},
    ok,
};

/// The ends of requests that need a backend of their own.
struct Ends {
    fine: RecordingBackend,
    stale: FakeBackend,
    long: FakeBackend,
    broken: FakeBackend,
    tunnel: RecordingBackend,
    logged: Logged,
}

impl Ends {
    async fn start(format: &str) -> Self {
        let dead = async || format!("http://{}", FakeBackend::refusing().await);
        let dead = [dead().await, dead().await];
        let fine = RecordingBackend::replying("fine").await;
        let stale = FakeBackend::start(Script::CloseAtSecond(ok("stale"))).await;
        let long = FakeBackend::start(Script::Drip("x".repeat(100_000))).await;
        let broken = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart".to_owned();
        let broken = FakeBackend::start(Script::ReplyAndClose(broken)).await;
        let tunnel = logged::echo().await;
        let url = |backend: &FakeBackend| [format!("http://{}", backend.addr)];
        let logged = Logged::start(
            format,
            &[
                ("fine", &[fine.url()]),
                ("dead", &dead),
                ("stale", &url(&stale)),
                ("long", &url(&long)),
                ("broken", &url(&broken)),
                ("tunnel", &[tunnel.url()]),
            ],
        );
        Self {
            fine,
            stale,
            long,
            broken,
            tunnel,
            logged,
        }
    }

    /// Makes one request of each kind; as many as these.
    async fn run(&self) -> usize {
        let mut client = self.logged.client().await;
        assert_eq!(client.get("/fine").await.status, 200);
        assert_eq!(client.get("/none").await.status, 404);
        assert_eq!(client.get("/dead").await.status, 502);
        for target in ["/stale/first", "/stale/again"] {
            assert_eq!(client.get(target).await.status, 200);
        }
        let too_long = "POST /fine/long HTTP/1.1\r\nHost: x\r\nContent-Length: 102401\r\n\r\n";
        client.send(too_long).await;
        assert_eq!(client.answer().await.status, 413);
        let mut leaves = self.logged.client().await;
        leaves.send(get("/long")).await;
        leaves.head().await;
        leaves.take(2).await;
        drop(leaves);
        let http = self.logged.app.http.unwrap();
        let broken = ask(Protocol::Http1, http, &Ask::get("/broken")).await;
        assert!(!broken.is_whole);
        let mut tunnel = self.logged.client().await;
        tunnel.send(UPGRADE).await;
        tunnel.head().await;
        tunnel.stream.shutdown().await.unwrap();
        assert_eq!(tunnel.rest().await.1, End::Closed);
        9
    }
}

#[tokio::test]
async fn each_end_of_a_request_has_its_line() {
    let ends = Ends::start("json").await;
    let count = ends.run().await;
    let (texts, metrics) = ends.logged.stop().await;
    assert_eq!(texts.len(), count, "{texts:#?}");
    let lines = json(&texts);
    for (target, status, attempts, cause, upstream) in [
        ("/fine", 200, 1, "ok", Some("fine")),
        ("/none", 404, 0, "no_route", None),
        ("/dead", 502, 2, "connect_refused", Some("dead")),
        ("/stale/first", 200, 1, "ok", Some("stale")),
        ("/stale/again", 200, 2, "ok", Some("stale")),
        ("/fine/long", 413, 0, "body_limit", Some("fine")),
        ("/long", 200, 1, "client_closed", Some("long")),
        ("/broken", 200, 1, "response_broken", Some("broken")),
        ("/tunnel", 101, 1, "ok", Some("tunnel")),
    ] {
        let expected = (status, attempts, cause.to_owned());
        assert_eq!(outcome(&lines, target), expected, "{target}");
        assert_eq!(of(&lines, target)["upstream"].as_str(), upstream);
    }
    for (target, addr) in [
        ("/fine", ends.fine.addr),
        ("/stale/again", ends.stale.addr),
        ("/long", ends.long.addr),
        ("/broken", ends.broken.addr),
        ("/tunnel", ends.tunnel.addr),
    ] {
        assert_eq!(of(&lines, target)["backend"], addr.to_string(), "{target}");
    }
    for target in ["/none", "/fine/long"] {
        assert_eq!(of(&lines, target)["backend"], Value::Null, "{target}");
    }
    assert_eq!(of(&lines, "/broken")["body_bytes_sent"], 4);
    // The same words as in the metrics, and as often.
    let mut faults = 0;
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("weir_http_faults_total{cause=\"") else {
            continue;
        };
        let (cause, count) = rest.split_once("\"} ").unwrap();
        let logged = lines.iter().filter(|line| line["cause"] == cause).count();
        assert_eq!(count, logged.to_string(), "{cause}");
        faults += logged;
    }
    assert_eq!(faults, 5);
}

#[tokio::test]
async fn the_combined_format_tells_the_same() {
    let ends = Ends::start("combined").await;
    let count = ends.run().await;
    let mut client = ends.logged.client().await;
    let head = "GET /fine?q HTTP/1.1\r\nHost: h.example\r\nUser-Agent: curl/8\r\nReferer: http://r/\r\nX-Request-Id: r-1\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.answer().await.status, 200);
    drop(client);
    let addr = ends.fine.addr.to_string();
    let (lines, _) = ends.logged.stop().await;
    assert_eq!(lines.len(), count + 1, "{lines:#?}");
    let mut seen = 0;
    for line in &lines {
        let fields = fields(line);
        assert_eq!(fields.len(), 18, "{line}");
        let target = fields[4].split(' ').nth(1).unwrap();
        let outcome = [fields[5], fields[10], fields[12], fields[13]];
        let expected = match target {
            "/fine" | "/fine?q" => ["200", "fine", "1", "ok"],
            "/none" => ["404", "-", "0", "no_route"],
            "/dead" => ["502", "dead", "2", "connect_refused"],
            "/stale/first" => ["200", "stale", "1", "ok"],
            "/stale/again" => ["200", "stale", "2", "ok"],
            "/fine/long" => ["413", "fine", "0", "body_limit"],
            "/long" => ["200", "long", "1", "client_closed"],
            "/broken" => ["200", "broken", "1", "response_broken"],
            "/tunnel" => ["101", "tunnel", "1", "ok"],
            _ => panic!("{line}"),
        };
        assert_eq!(outcome, expected, "{line}");
        if target == "/fine?q" {
            assert_eq!(fields[..3], ["203.0.113.9", "-", "-"]);
            assert_eq!(fields[4], "GET /fine?q HTTP/1.1");
            assert_eq!(fields[6..10], ["4", "http://r/", "curl/8", "h.example"]);
            assert_eq!((fields[11], fields[16]), (addr.as_str(), "r-1"));
        }
        seen += 1;
    }
    assert_eq!(seen, 10);
}
