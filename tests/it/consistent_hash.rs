//! Requests that go by what is in them, and what a route does to headers.

use std::collections::HashMap;

use futures_util::future::join_all;

use crate::support::{
    Ask, Ending, KeptClient, PairedBackend, Pairing, Protocol, RecordingBackend, Reply, TestApp,
    ask, eventually, gated, get,
};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: usize = 60;

async fn named() -> Vec<RecordingBackend> {
    join_all(NAMES.map(RecordingBackend::replying)).await
}

fn sections(backends: &[RecordingBackend], keys: &str) -> String {
    let urls: Vec<String> = backends.iter().map(RecordingBackend::url).collect();
    format!(
        "workers: 4\nhttp:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app:\n    balance: consistent_hash\n    backends: [\"{}\"]\n{keys}",
        urls.join("\", \"")
    )
}

/// Asks with each key, by a client of either kind, on a connection of its own; who answered.
async fn answers(
    app: &TestApp,
    asking: impl Fn(usize, usize) -> Ask,
    round: usize,
) -> HashMap<usize, String> {
    let http = app.http.unwrap();
    let mut answers = HashMap::new();
    for key in 0..KEYS {
        let answer = ask(CLIENTS[(key + round) % 2], http, &asking(key, round)).await;
        assert_eq!(answer.status, 200);
        answers.insert(key, String::from_utf8(answer.body).unwrap());
    }
    answers
}

/// The same key goes to the same backend, other keys to others; and if the last backend goes,
/// only its keys move.
async fn check(hash_by: &str, asking: impl Fn(usize, usize) -> Ask) {
    let mut backends = named().await;
    let keys = format!("    hash_by: {hash_by}\n");
    let app = TestApp::start("", &sections(&backends, &keys));
    let first = answers(&app, &asking, 0).await;
    for round in 1..3 {
        assert_eq!(answers(&app, &asking, round).await, first, "{hash_by}");
    }
    for name in NAMES {
        let own = first.values().filter(|answer| *answer == name).count();
        assert!(own > KEYS / 20, "{hash_by}: {own} of {KEYS} at {name}");
    }
    let removed = backends.pop();
    app.rewrite("", &sections(&backends, &keys));
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 1)
        .await;
    let after = answers(&app, &asking, 0).await;
    for (key, answer) in &after {
        match first[key].as_str() {
            "d" => assert_ne!(answer, "d", "{hash_by}"),
            stays => assert_eq!(answer, stays, "{hash_by}: key {key} moved"),
        }
    }
    let heirs: Vec<&String> = after
        .iter()
        .filter(|(key, _)| first[*key] == "d")
        .map(|(_, heir)| heir)
        .collect();
    let spread = NAMES
        .iter()
        .filter(|name| heirs.iter().any(|heir| heir == *name))
        .count();
    assert!(spread > 1, "{hash_by}: all of its keys went to {heirs:?}");
    backends.extend(removed);
    app.rewrite("", &sections(&backends, &keys));
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 2)
        .await;
    assert_eq!(answers(&app, &asking, 1).await, first, "{hash_by}");
}

#[tokio::test]
async fn by_header() {
    check("header:X-User", |key, round| {
        Ask::get(["/", "/other?a", "/third"][round]).header("x-user", format!("user{key}"))
    })
    .await;
}

#[tokio::test]
async fn by_cookie() {
    check("cookie:session", |key, round| {
        let before = ["", "a=1; session2=x; ", "SESSION=no; "][round];
        Ask::get("/").header("cookie", format!("{before}session=s{key}; last=1"))
    })
    .await;
}

#[tokio::test]
async fn by_client_address() {
    check("client_address", |key, round| {
        // What a proxy in between says of itself does not count.
        let chain = format!("10.0.{}.{key}", key % 7);
        let chain = [
            chain.clone(),
            format!("1.1.1.1, {chain}"),
            format!("{chain}, 127.0.0.9"),
        ][round]
            .clone();
        Ask::get("/").header("x-forwarded-for", chain)
    })
    .await;
}

#[tokio::test]
async fn by_path() {
    let mut targets = Vec::new();
    for key in 0..KEYS {
        for query in ["", "?a=1", "?b"] {
            // Freed with the process: `Ask` wants one that lives for ever.
            let target: &'static str = format!("/film/{key}{query}").leak();
            targets.push(target);
        }
    }
    check("path", |key, round| Ask::get(targets[3 * key + round])).await;
}

/// Eight at a time with one key: with a bound they spill over, without one they do not.
#[tokio::test]
async fn a_hot_key_spills_over_at_the_bound() {
    for (bound, most) in [("125%", 3), ("10000%", 8)] {
        let gates = join_all(NAMES.map(gated)).await;
        let (backends, gates): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let keys = format!("    hash_by: path\n    load_bound: {bound}\n");
        let app = TestApp::start("", &sections(&backends, &keys));
        let delivered = || backends.iter().map(|backend| backend.requests().len());
        let mut clients = Vec::new();
        for count in 1..=8 {
            let mut client = KeptClient::connect(app.http.unwrap()).await;
            client.send(get("/hot")).await;
            clients.push(client);
            eventually("it is delivered", async || {
                delivered().sum::<usize>() == count
            })
            .await;
        }
        assert_eq!(delivered().max(), Some(most), "{bound}");
        for gate in gates {
            gate.add_permits(8);
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_route_sets_and_removes_headers() {
    let rules = "request_headers: { set: { X-Set: \"new, 1\", Host: inner.example, X-Real-IP: 9.9.9.9 }, remove: [X-Gone, Accept, X-Forwarded-For] }, response_headers: { set: { X-Frame-Options: DENY, Server: weir }, remove: [X-Secret, Set-Cookie] }";
    for pairing in Pairing::ALL {
        let reply = Reply::body("answer")
            .header("x-secret", 1)
            .header("x-kept", 2)
            .header("server", "inner")
            .header("set-cookie", "a=b");
        let backend = PairedBackend::start(pairing.backend, reply, Ending::Whole).await;
        let app = TestApp::start(
            "",
            &format!(
                "http:\n  - listen: 127.0.0.1:0\n    routes:\n      - {{ path: /ruled, upstream: app, {rules} }}\n      - {{ path: /, upstream: app }}\nupstreams:\n  app: {{ backends: [\"{}\"] }}\n",
                backend.url()
            ),
        );
        let request = |target| {
            Ask::get(target)
                .header("x-set", "old")
                .header("x-set", "older")
                .header("x-gone", 1)
                .header("x-kept", 2)
                .header("accept", "*/*")
        };
        let ruled = ask(pairing.client, app.http.unwrap(), &request("/ruled")).await;
        let plain = ask(pairing.client, app.http.unwrap(), &request("/plain")).await;
        let seen = backend.seen();
        assert_eq!(seen[0].authority, "inner.example", "{pairing:?}");
        assert_eq!(seen[1].authority, "web.example");
        let values = |headers: &http::HeaderMap, name: &str| {
            let values = headers.get_all(name).iter();
            values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for (name, expected, other) in [
            ("x-set", &["new, 1"][..], &["old", "older"][..]),
            ("x-real-ip", &["9.9.9.9"], &["127.0.0.1"]),
            ("x-forwarded-for", &[], &["127.0.0.1"]),
            ("x-gone", &[], &["1"]),
            ("accept", &[], &["*/*"]),
            ("x-kept", &["2"], &["2"]),
        ] {
            assert_eq!(
                values(&seen[0].headers, name),
                expected,
                "{pairing:?} {name}"
            );
            assert_eq!(values(&seen[1].headers, name), other, "{pairing:?} {name}");
        }
        for (name, expected, other) in [
            ("x-frame-options", &["DENY"][..], &[][..]),
            ("server", &["weir"], &["inner"]),
            ("x-secret", &[], &["1"]),
            ("set-cookie", &[], &["a=b"]),
            ("x-kept", &["2"], &["2"]),
        ] {
            assert_eq!(values(&ruled.headers, name), expected, "{pairing:?} {name}");
            assert_eq!(values(&plain.headers, name), other, "{pairing:?} {name}");
        }
    }
}
