//! Values and targets that are easily rejected or changed, and arrive as they were sent.

use crate::support::{
    Ask, Ending, Http2Backend, Http2Script, KeptClient, PairedBackend, Pairing, Protocol,
    RecordingBackend, Reply, TestApp, ask,
    raw_http2::{GET, Outcome, RawHttp2, headers},
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

const ODD: [&str; 10] = [
    "/a\"b", "/a<b", "/a>b", "/a|b", "/a^b", "/a?b=\"c\"", "/a?b=<c>", "/a?b=c|d", "/a?b=c^d",
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

/// Browsers leave them as they are in a query, and some programs everywhere.
#[tokio::test]
async fn characters_that_should_be_escaped_reach_an_http1_backend_unchanged() {
    let mut wrong = Vec::new();
    for client in CLIENTS {
        for target in ODD {
            let backend = RecordingBackend::replying("fine").await;
            let app = start_balancer(&[backend.url()], "", "", "");
            let status = status(&app, client, target).await;
            let seen: Vec<String> = backend.requests().into_iter().map(|seen| seen.target).collect();
            if status != 200 || seen != [target] {
                wrong.push(format!("{client:?} {target}: {status} {seen:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn characters_that_should_be_escaped_reach_an_http2_backend_unchanged() {
    let mut wrong = Vec::new();
    for client in CLIENTS {
        for target in ODD {
            let backend = Http2Backend::start(Http2Script::Reply(Reply::body("fine"))).await;
            let app = start_balancer(&[backend.url()], "", "", "");
            let status = status(&app, client, target).await;
            let seen = backend.requests().into_iter();
            let seen: Vec<String> = seen
                .map(|seen| seen.head.uri.path_and_query().unwrap().to_string())
                .collect();
            if status != 200 || seen != [target] {
                wrong.push(format!("{client:?} {target}: {status} {seen:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
