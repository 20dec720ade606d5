//! Which backend a path leads to, and what that backend sees of it.

use std::time::Duration;

use crate::support::{Ask, FakeBackend, Protocol, TestApp, ask, talk};

/// A balancer with one route that leads to `private`, and one for all the rest.
struct Fixture {
    app: TestApp,
    private: FakeBackend,
    public: FakeBackend,
}

impl Fixture {
    async fn start(route: &str) -> Self {
        let private = FakeBackend::replying("private").await;
        let public = FakeBackend::replying("public").await;
        let app = TestApp::start(
            "",
            &format!(
                "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ {route}, upstream: private }}, {{ path: /, upstream: public }}]\n\
                 upstreams:\n  private: {{ backends: [\"http://{}\"] }}\n  public: {{ backends: [\"http://{}\"] }}\n",
                private.addr, public.addr
            ),
        );
        Self {
            app,
            private,
            public,
        }
    }

    /// Who answers.
    async fn body(&self, client: Protocol, target: &'static str) -> String {
        let answer = ask(client, self.app.http.unwrap(), &Ask::get(target)).await;
        assert_eq!(answer.status, 200, "{target}");
        String::from_utf8(answer.body).unwrap()
    }
}

fn targets(backend: &FakeBackend) -> Vec<String> {
    let heads = backend.heads();
    let target = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
    heads.iter().map(target).collect()
}

/// A backend that normalises paths would have served `/admin` to whoever wrote it another way.
#[tokio::test]
async fn no_spelling_of_a_path_side_steps_its_route() {
    const HIDDEN: [&str; 8] = [
        "/admin/x?a=//b/../c",
        "//admin/x",
        "/x/../admin/x",
        "/./admin",
        "/%61dmin/x?%zz",
        "/x/%2e%2e/admin/x",
        "/x%2F..%2Fadmin",
        "/admin/../admin/a%2fb//",
    ];
    const OPEN: [&str; 5] = [
        "/admin/../x",
        "/administrator",
        "/x//admin",
        "/%2561dmin",
        "/?/admin",
    ];
    for client in [Protocol::Http1, Protocol::Http2] {
        let fixture = Fixture::start("path: /admin").await;
        for target in HIDDEN {
            let body = fixture.body(client, target).await;
            assert_eq!(body, "private", "{client:?} {target}");
        }
        for target in OPEN {
            let body = fixture.body(client, target).await;
            assert_eq!(body, "public", "{client:?} {target}");
        }
        // Byte for byte as they came.
        assert_eq!(targets(&fixture.private), HIDDEN);
        assert_eq!(targets(&fixture.public), OPEN);
    }
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_refused() {
    let fixture = Fixture::start("path: /admin").await;
    for target in [
        "/../admin",
        "/x/../../admin",
        "/%2e%2e/x",
        "/a%00",
        "/%zz",
        "/a%2",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let talk = talk(fixture.app.http.unwrap(), request, Duration::from_secs(3)).await;
        assert_eq!(talk.statuses(), [400], "{target}");
    }
    let faults = "weir_http_faults_total{cause=\"bad_request\"}";
    assert_eq!(fixture.app.metric(faults).await, 6);
    assert!(fixture.private.heads().is_empty() && fixture.public.heads().is_empty());
}

#[tokio::test]
async fn a_stripped_prefix_goes_however_it_was_written() {
    let fixture = Fixture::start("path: /api, strip_prefix: true").await;
    let cases = [
        ("/api", "/"),
        ("/api?", "/?"),
        ("/api/a%2fb//c?d=/../e", "/a%2fb//c?d=/../e"),
        ("//api/a%20b?c", "/a%20b?c"),
        ("/%61pi/%2e/x", "/x"),
        ("/api/../api/x?", "/x?"),
    ];
    for (target, _) in cases {
        assert_eq!(fixture.body(Protocol::Http1, target).await, "private");
    }
    assert_eq!(targets(&fixture.private), cases.map(|(_, seen)| seen));
}
