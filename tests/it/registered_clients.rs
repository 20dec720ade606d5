//! Registered clients: their limits come from the database, while it is there and while it is not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::Executor as _;
use tokio::time::Duration;
use weir::{
    config::Database,
    limit::{ApiKey, Quota, Rate},
    store::{
        Store,
        audit::Actor,
        clients::{Change, ClientSpec, Precondition},
        migrations, parse_network,
    },
};

use crate::support::{
    FakeBackend, GrpcClient, Postgres, Process, SteadyClient, TestApp, VIDEO, eventually,
    framed_call, grpc_request, http1, weir,
};

const NONE: &Precondition = &Precondition::None;

fn sections(database: &str, backend: &FakeBackend) -> String {
    format!(
        "database: \"{database}\"\nrate_limit: {{ capacity: 2, rate_per_sec: 0.001 }}\nhttp:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app: {{ backends: [\"http://{}\"] }}\n",
        backend.addr
    )
}

async fn start(database: &str) -> (TestApp, FakeBackend) {
    let backend = FakeBackend::replying("fine").await;
    let app = TestApp::start("", &sections(database, &backend));
    eventually("it is ready", async || app.readiness().await == 200).await;
    (app, backend)
}

/// Registers a client, as another process would.
async fn register(store: &Store, id: &str, capacity: u32, networks: &[&str], key: Option<&str>) {
    let spec = ClientSpec {
        client_id: id.to_owned(),
        quota: Quota::new(
            capacity.try_into().unwrap(),
            Rate::per_second(0.001).unwrap(),
        )
        .unwrap(),
        networks: networks
            .iter()
            .map(|text| parse_network(text).unwrap())
            .collect(),
    };
    let actor = Actor {
        name: "test".to_owned(),
        address: String::new(),
    };
    let key = key.map(|key| ApiKey::parse(key).unwrap().stored());
    let change = Change {
        actor: &actor,
        now_ms: 1,
    };
    store
        .put_client(&spec, key.as_ref(), NONE, change)
        .await
        .unwrap();
}

async fn statuses(addr: SocketAddr, header: &str, requests: usize) -> Vec<u16> {
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n");
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let (head, _) = http1(addr, &request).await;
        statuses.push(head[9..12].parse().unwrap());
    }
    statuses
}

async fn until_clients(app: &TestApp, count: u64) {
    app.until_metric("weir_rate_limit_clients{kind=\"registered\"}", count)
        .await;
}

#[tokio::test]
async fn a_client_is_known_by_key_address_or_network() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.db");
    let url = format!("sqlite://{}", path.display());
    let (app, _backend) = start(&url).await;
    let store = Store::new(&Database::Sqlite(path)).unwrap();
    let key = ApiKey::generate(|below| fastrand::usize(..below));
    register(&store, "studio", 4, &["10.1.0.0/16"], Some(&key)).await;
    register(&store, "10.1.2.3", 1, &[], None).await;
    until_clients(&app, 2).await;
    let http = app.http.unwrap();
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    assert_eq!(statuses(http, &from("10.1.2.3"), 2).await, [200, 429]);
    assert_eq!(statuses(http, &from("10.1.9.9"), 2).await, [200; 2]);
    // The key's client is that of the network, and has used two of four.
    let with_key = format!("X-API-Key: {key}\r\nX-Forwarded-For: 192.0.2.7");
    assert_eq!(statuses(http, &with_key, 3).await, [200, 200, 429]);
    let forged = format!(
        "X-API-Key: {}x\r\nX-Forwarded-For: 192.0.2.7",
        &key[..key.len() - 1]
    );
    assert_eq!(statuses(http, &forged, 3).await, [200, 200, 429]);
    // The redirect service knows it, too.
    let client = GrpcClient::connect(app.redirect).await;
    let mut request = grpc_request("/loadBalancer.loadBalancer/Redirect");
    request
        .headers_mut()
        .insert("x-api-key", key.parse().unwrap());
    let answer = client
        .try_call(request, vec![framed_call(VIDEO)])
        .await
        .unwrap();
    assert_eq!(answer.code(), 8);
    let refused = "weir_rate_limited_total{limit=\"client\",mode=\"enforce\"}";
    assert_eq!(app.metric(refused).await, 3);

    // A higher limit holds at once; a client that is gone has the default one.
    register(&store, "10.1.2.3", 1000, &[], None).await;
    let admitted = async || statuses(http, &from("10.1.2.3"), 1).await == [200];
    eventually("the new limit holds", admitted).await;
    let actor = Actor {
        name: "test".to_owned(),
        address: String::new(),
    };
    let change = Change {
        actor: &actor,
        now_ms: 2,
    };
    store.delete_client("studio", NONE, change).await.unwrap();
    until_clients(&app, 1).await;
    assert_eq!(statuses(http, &with_key, 1).await, [429]);
    assert_eq!(
        statuses(
            http,
            &format!("X-API-Key: {key}\r\nX-Forwarded-For: 192.0.2.8"),
            3
        )
        .await,
        [200, 200, 429]
    );
}

#[tokio::test]
async fn a_process_starts_without_its_database_and_says_so() {
    let (app, _backend) = start("postgres://weir@127.0.0.1:1/weir").await;
    assert_eq!(app.metric("weir_database_up").await, 0);
    assert_eq!(
        statuses(app.http.unwrap(), "X-Y: z", 3).await,
        [200, 200, 429]
    );
}

/// As in a container whose file system can only be read.
#[test]
fn a_file_that_cannot_be_made_is_named() {
    let mut command = weir();
    command
        .arg("--cdn-host=cdn.example.com")
        .env("DATABASE_URL", "sqlite:///proc/weir.db");
    let told = Process::spawn(command).until_logged("the database gives no answer");
    let message = told["message"].as_str().unwrap();
    assert!(
        message.ends_with("until it does, each client has the default limit"),
        "{message}"
    );
    let error = told["error"].as_str().unwrap();
    assert!(error.starts_with("cannot open /proc/weir.db"), "{error}");
}

#[tokio::test]
async fn an_old_file_that_is_replaced_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let url = format!("sqlite://{}", path("weir.db").display());
    let (app, _backend) = start(&url).await;
    let other = Database::Sqlite(path("other.db"));
    migrations::up(&other).await.unwrap();
    let store = Store::new(&other).unwrap();
    register(&store, "10.0.0.1", 7, &[], None).await;
    store.close().await;
    std::fs::rename(path("other.db"), path("weir.db")).unwrap();
    until_clients(&app, 1).await;
}

/// Its limits hold on while the database is gone, and what is missed meanwhile is found.
#[tokio::test]
async fn an_outage_of_postgres_costs_nothing() {
    let Some(mut postgres) = Postgres::start("an_outage_of_postgres_costs_nothing").await else {
        return;
    };
    migrations::up(&postgres.database()).await.unwrap();
    let (app, _backend) = start(&postgres.url()).await;
    let store = Store::new(&postgres.database()).unwrap();
    register(&store, "10.0.0.1", 3, &[], None).await;
    until_clients(&app, 1).await;
    let http = app.http.unwrap();
    let from = "X-Forwarded-For: 10.0.0.1";
    assert_eq!(statuses(http, from, 1).await, [200]);
    store.close().await;
    postgres.kill();
    app.until_metric("weir_database_up", 0).await;
    assert_eq!(statuses(http, from, 3).await, [200, 200, 429]);
    assert_eq!(app.readiness().await, 200);
    postgres.restart().await;
    let mut connection = postgres.connect().await;
    let insert =
        "INSERT INTO clients (client_id, capacity, rate_per_sec) VALUES ('10.0.0.2', 1, 1)";
    connection.execute(insert).await.unwrap();
    until_clients(&app, 2).await;
    // Sessions that are ended, as by a failover, lose notifications.
    connection
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
        .await
        .unwrap();
    connection.execute("DELETE FROM clients").await.unwrap();
    until_clients(&app, 0).await;
    assert_eq!(app.metric("weir_database_up").await, 1);
}

/// Requests go on while 10,000 clients are read, a hundred changes come, and the database is killed
/// and comes back: none fails, and none is refused.
#[tokio::test]
async fn under_load_the_database_changes_dies_and_comes_back() {
    let test = "under_load_the_database_changes_dies_and_comes_back";
    let Some(mut postgres) = Postgres::start(test).await else {
        return;
    };
    migrations::up(&postgres.database()).await.unwrap();
    let mut connection = postgres.connect().await;
    let own = "INSERT INTO clients (client_id, capacity, rate_per_sec) VALUES ('127.0.0.1', 1000000, 1000000)";
    connection.execute(own).await.unwrap();
    let (app, _backend) = start(&postgres.url()).await;
    until_clients(&app, 1).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(ask_until(app.http.unwrap(), Arc::clone(&is_over))))
        .collect();
    let many = "INSERT INTO clients (client_id, capacity, rate_per_sec) SELECT '10.' || n / 65536 || '.' || n / 256 % 256 || '.' || n % 256, 5, 1 FROM generate_series(1, 10000) n";
    connection.execute(many).await.unwrap();
    until_clients(&app, 10_001).await;
    let edit = "UPDATE clients SET capacity = capacity % 100 + 1 WHERE client_id = '10.0.0.1'";
    for _ in 0..100 {
        connection.execute(edit).await.unwrap();
    }
    postgres.kill();
    app.until_metric("weir_database_up", 0).await;
    postgres.restart().await;
    let mut connection = postgres.connect().await;
    let last = "DELETE FROM clients WHERE client_id = '10.0.0.2'";
    connection.execute(last).await.unwrap();
    until_clients(&app, 10_000).await;
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        let answered = client.await.unwrap();
        assert!(answered > 100, "{answered}");
    }
}

/// Asks again and again, and returns how often. Every answer must be a whole 200.
async fn ask_until(addr: SocketAddr, is_over: Arc<AtomicBool>) -> u64 {
    let (mut client, mut answered) = (SteadyClient::new(addr), 0);
    while !is_over.load(Ordering::Relaxed) {
        client.body().await;
        answered += 1;
    }
    answered
}

/// Without tables the default limit holds; tables that are made later are found.
#[tokio::test]
async fn tables_that_come_later_are_found() {
    let Some(postgres) = Postgres::start("tables_that_come_later_are_found").await else {
        return;
    };
    let (app, _backend) = start(&postgres.url()).await;
    assert_eq!(app.metric("weir_database_up").await, 0);
    migrations::up(&postgres.database()).await.unwrap();
    app.until_metric("weir_database_up", 1).await;
}

/// A slow database is on no request's way.
#[tokio::test]
async fn a_locked_table_holds_no_request_up() {
    let Some(postgres) = Postgres::start("a_locked_table_holds_no_request_up").await else {
        return;
    };
    migrations::up(&postgres.database()).await.unwrap();
    let (app, _backend) = start(&postgres.url()).await;
    let mut connection = postgres.connect().await;
    connection.execute("BEGIN").await.unwrap();
    connection.execute("LOCK TABLE clients").await.unwrap();
    connection
        .execute("SELECT pg_notify('weir_clients', '')")
        .await
        .unwrap();
    let asked = tokio::time::timeout(
        Duration::from_secs(2),
        statuses(app.http.unwrap(), "A: b", 3),
    );
    assert_eq!(asked.await.unwrap(), [200, 200, 429]);
    assert_eq!(app.readiness().await, 200);
}
