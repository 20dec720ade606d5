//! Values and targets that are easily rejected or changed, and arrive as they were sent.

use crate::support::{
    Ask, Ending, KeptClient, PairedBackend, Pairing, Protocol, RecordingBackend, Reply, TestApp,
    ask,
    raw_http2::{self, GET, Outcome, RawHttp2, headers},
    start_balancer,
};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Bytes above 0x7F are opaque (RFC 9110 section 5.5).
#[tokio::test]
async fn opaque_bytes_in_values_pass_both_ways() {
    for pairing in Pairing::ALL {
        let reply = Reply::body("answer").header("x-said", "grüße");
        let backend = PairedBackend::start(pairing.backend, reply, Ending::Whole).await;
        let app = start_balancer(&[backend.url()], "", "", "");
        let request = Ask::get("/").header("x-asked", "größe");
        let answer = ask(pairing.client, app.http.unwrap(), &request).await;
        assert_eq!(answer.status, 200, "{pairing:?} {answer:?}");
        let seen = backend.seen().remove(0);
        let bytes = seen.headers["x-asked"].as_bytes();
        assert_eq!(bytes, "größe".as_bytes(), "{pairing:?}");
        let bytes = answer.headers["x-said"].as_bytes();
        assert_eq!(bytes, "grüße".as_bytes(), "{pairing:?}");
    }
}

#[tokio::test]
async fn a_cookie_is_found_beside_one_of_opaque_bytes() {
    let names = ["a", "b", "c", "d"];
    let backends = futures_util::future::join_all(names.map(RecordingBackend::replying)).await;
    let urls: Vec<String> = backends.iter().map(RecordingBackend::url).collect();
    let keys = "    balance: consistent_hash\n    hash_by: cookie:session\n";
    let app = start_balancer(&urls, keys, "", "");
    let http = app.http.unwrap();
    let mut hosts = std::collections::HashSet::new();
    for key in 0..20 {
        let plain = Ask::get("/").header("cookie", format!("session=s{key}"));
        let expected = ask(Protocol::Http1, http, &plain).await.body;
        for client in CLIENTS {
            for cookies in ["name=größe; session=KEY", "session=KEY; name=größe"] {
                let cookies = cookies.replace("KEY", &format!("s{key}"));
                let request = Ask::get("/").header("cookie", &cookies);
                let answer = ask(client, http, &request).await;
                assert_eq!(answer.body, expected, "{client:?} {cookies}");
            }
        }
        hosts.insert(expected);
    }
    assert!(hosts.len() > 1, "{hosts:?}");
}

/// Some proxies add the port to the address.
#[tokio::test]
async fn a_forwarded_address_may_have_a_port() {
    let mut cases = 0;
    for pairing in Pairing::ALL {
        for (chain, real_ip) in [
            ("203.0.113.7:51234", "203.0.113.7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("6.6.6.6, 203.0.113.7:51234", "203.0.113.7"),
        ] {
            let reply = Reply::body("answer");
            let backend = PairedBackend::start(pairing.backend, reply, Ending::Whole).await;
            let app = start_balancer(&[backend.url()], "", "", "");
            let request = Ask::get("/").header("x-forwarded-for", chain);
            let answer = ask(pairing.client, app.http.unwrap(), &request).await;
            assert_eq!(answer.status, 200, "{pairing:?} {chain}");
            let seen = backend.seen().remove(0);
            assert_eq!(seen.headers["x-real-ip"], real_ip, "{pairing:?} {chain}");
            cases += 1;
        }
    }
    assert_eq!(cases, 16);
}

/// Characters that should be escaped. Browsers leave them as they are in a query, and some programs
/// everywhere.
const ODD: [&str; 10] = [
    "/a\"b",
    "/a<b",
    "/a>b",
    "/a|b",
    "/a^b",
    "/a?b=\"c\"",
    "/a?b=<c>",
    "/a?b=c|d",
    "/a?b=c^d",
    "/\"<>|^?\"<>|^",
];

async fn status(app: &TestApp, client: Protocol, target: &str) -> u16 {
    let http = app.http.unwrap();
    match client {
        Protocol::Http1 => KeptClient::connect(http).await.get(target).await.status,
        Protocol::Http2 => {
            let mut client = RawHttp2::connect(http, &[]).await;
            let mut fields = GET;
            fields[3] = (":path", target);
            client.send(&headers(1, true, &fields)).await;
            match client.outcome(1).await {
                Outcome::Status(status) => status,
                _broken => 0,
            }
        }
    }
}

/// What a backend of HTTP/1.1 sees of each target.
async fn check_odd_targets(client: Protocol, targets: &[&'static str]) {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut wrong = Vec::new();
    for &target in targets {
        let before = backend.requests().len();
        let status = status(&app, client, target).await;
        let seen = backend.requests().split_off(before).into_iter();
        let seen: Vec<String> = seen.map(|seen| seen.target).collect();
        if status != 200 || seen != [target] {
            wrong.push(format!("{target}: {status} {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn odd_characters_in_a_target_of_http1_reach_the_backend() {
    check_odd_targets(Protocol::Http1, &ODD).await;
}

/// The `h2` crate takes `<`, `>` and `"` in a query for a malformed request.
#[tokio::test]
async fn odd_characters_in_a_target_of_http2_reach_the_backend() {
    check_odd_targets(Protocol::Http2, &["/a|b", "/a^b", "/a?b|c^d"]).await;
}

/// `h2` takes some of them for a malformed request, so the backend is one that looks at no target.
#[tokio::test]
async fn odd_characters_in_a_target_reach_an_http2_backend() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.speak_http2(&[], |_nth, stream| vec![raw_http2::ok(stream)])
            .await;
    });
    let backend = backend.await;
    let url = format!("h2c://{}", backend.addr);
    let app = start_balancer(&[url], "", "", "");
    let mut wrong = Vec::new();
    for target in ODD {
        let status = status(&app, Protocol::Http1, target).await;
        if status != 200 {
            wrong.push(format!("{target}: {status}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A client must not be able to take backends out of service.
#[tokio::test]
async fn a_target_that_http2_cannot_carry_ejects_no_backend() {
    let answering = || {
        RecordingBackend::scripted(|mut wire| async move {
            wire.speak_http2(&[], |_nth, stream| vec![raw_http2::ok(stream)])
                .await;
        })
    };
    let backends = [answering().await, answering().await];
    let urls = backends
        .each_ref()
        .map(|backend| format!("h2c://{}", backend.addr));
    let policy = "    ejection: { consecutive_failures: 3, base_time: 60s }\n";
    let app = start_balancer(&urls, policy, "", "");
    for _ in 0..10 {
        status(&app, Protocol::Http1, "/a<b").await;
    }
    for url in &urls {
        for name in ["failures_total", "ejections_total"] {
            let name = format!("weir_backend_{name}{{upstream=\"app\",backend=\"{url}\"}}");
            assert_eq!(app.metric(&name).await, 0, "{name}");
        }
    }
    assert_eq!(status(&app, Protocol::Http1, "/").await, 200);
}
