//! The database of clients: the same suite on SQLite and on PostgreSQL.

use std::{collections::BTreeSet, process::Stdio, thread};

use sqlx::{AnyConnection, Connection as _, Executor as _, PgConnection};
use tokio::time::{Duration, timeout};
use weir::{
    config::Database,
    limit::{ApiKey, Quota, Rate},
    store::{
        Store, StoreError,
        audit::{Actor, Filter},
        changes::Changes,
        clients::{Change, ChangeError, ClientSpec, Precondition},
        migrations, parse_network,
    },
};

use crate::support::{Postgres, eventually, weir};

fn spec(id: &str, capacity: u32, networks: &[&str]) -> ClientSpec {
    let rate = Rate::per_second(10.5).unwrap();
    ClientSpec {
        client_id: id.to_owned(),
        quota: Quota::new(capacity.try_into().unwrap(), rate).unwrap(),
        networks: networks
            .iter()
            .map(|text| parse_network(text).unwrap())
            .collect(),
    }
}

fn actor() -> Actor {
    Actor {
        name: "test".to_owned(),
        address: "192.0.2.1".to_owned(),
    }
}

fn at(actor: &Actor, now_ms: i64) -> Change<'_> {
    Change { actor, now_ms }
}

fn version(version: i64) -> Precondition {
    Precondition::Versions([version].into())
}

fn key() -> weir::limit::StoredKey {
    let text = ApiKey::generate(|below| fastrand::usize(..below));
    ApiKey::parse(&text).unwrap().stored()
}

async fn prepared(database: &Database) -> Store {
    migrations::up(database).await.unwrap();
    let store = Store::new(database).unwrap();
    store.prepare().await.unwrap();
    store
}

/// What every database must do.
async fn suite(database: &Database) {
    assert!(matches!(
        Store::new(database).unwrap().prepare().await,
        Ok(()) | Err(StoreError::NoSchema)
    ));
    let store = prepared(database).await;
    clients_are_made_changed_and_removed(&store).await;
    a_change_needs_what_it_expects(&store).await;
    keys_come_and_go(&store).await;
    pages_follow_each_other(&store).await;
    changes_are_told_of(&store).await;
    store.close().await;
    schema_versions_come_and_go(database).await;
}

async fn clients_are_made_changed_and_removed(store: &Store) {
    let actor = actor();
    let none = &Precondition::None;
    let put = async |spec: ClientSpec, now_ms| {
        store
            .put_client(&spec, None, &Precondition::None, at(&actor, now_ms))
            .await
    };
    let made = put(spec("a", 100, &["10.0.0.0/8"]), 1_000).await.unwrap();
    assert!(made.is_new);
    assert_eq!((made.client.capacity, made.client.version), (100, 1_000));
    assert_eq!(
        (made.client.rate_per_sec, made.client.networks.len()),
        (10.5, 1)
    );
    let changed = put(spec("a", 7, &["10.1.0.0/16", "::1"]), 2_000)
        .await
        .unwrap();
    assert!(!changed.is_new);
    assert_eq!(
        (changed.client.capacity, changed.client.version),
        (7, 1_001)
    );
    assert_eq!(changed.client.networks, ["10.1.0.0/16", "::1/128"]);
    let read = store.read_clients().await.unwrap();
    assert_eq!((read.clients.len(), read.bad.len()), (1, 0));
    assert_eq!(read.clients[0].networks.len(), 2);
    let taken = put(spec("b", 7, &["10.1.0.0/16"]), 3_000)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(taken, "network 10.1.0.0/16 is of client \"a\"");
    assert_eq!(store.client("b").await.unwrap(), None);
    store
        .delete_client("a", none, at(&actor, 4_000))
        .await
        .unwrap();
    let gone = store.delete_client("a", none, at(&actor, 5_000)).await;
    assert!(matches!(gone, Err(ChangeError::NotFound(_))));
    assert!(store.read_clients().await.unwrap().clients.is_empty());

    let entries = store.audit(&Filter::default(), 10).await.unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["client.delete", "client.update", "client.create"]);
    let update = &entries[1];
    assert_eq!(
        (&*update.actor, &*update.address, update.at_ms),
        ("test", "192.0.2.1", 2_000)
    );
    assert_eq!(update.subject, "client/a");
    let capacity = |value: &Option<serde_json::Value>| value.as_ref().unwrap()["capacity"].as_i64();
    assert_eq!(
        (capacity(&update.old_value), capacity(&update.new_value)),
        (Some(100), Some(7))
    );
    let filter = Filter {
        action: Some("client.update".to_owned()),
        subject: Some("client/a".to_owned()),
        ..Filter::default()
    };
    assert_eq!(store.audit(&filter, 10).await.unwrap().len(), 1);
    let earlier = Filter {
        before: Some(entries[1].id),
        ..Filter::default()
    };
    assert_eq!(store.audit(&earlier, 10).await.unwrap().len(), 1);
}

async fn a_change_needs_what_it_expects(store: &Store) {
    let actor = actor();
    let put = async |precondition| {
        store
            .put_client(&spec("c", 1, &[]), None, &precondition, at(&actor, 10))
            .await
    };
    assert!(matches!(
        put(Precondition::Exists).await,
        Err(ChangeError::NotFound(_))
    ));
    assert!(put(Precondition::Absent).await.is_ok());
    assert!(matches!(
        put(Precondition::Absent).await,
        Err(ChangeError::Exists(_))
    ));
    assert!(put(version(10)).await.is_ok());
    let stale = put(version(10)).await;
    assert!(matches!(
        stale,
        Err(ChangeError::Changed { version: 11, .. })
    ));
    // Of writers that expect the same version, one comes first.
    let writers = (0..8).map(|_| put(version(11)));
    let written = futures_util::future::join_all(writers).await;
    assert_eq!(written.iter().filter(|written| written.is_ok()).count(), 1);
    store
        .delete_client("c", &version(12), at(&actor, 20))
        .await
        .unwrap();
}

async fn keys_come_and_go(store: &Store) {
    let (actor, first, second) = (actor(), key(), key());
    let change = at(&actor, 50);
    let spec = spec("d", 1, &[]);
    let put = store
        .put_client(&spec, Some(&first), &Precondition::None, change)
        .await;
    assert_eq!(put.unwrap().client.keys, [first.id.to_string()]);
    let both = store.add_key("d", &second, change).await.unwrap();
    assert_eq!((both.keys.len(), both.version), (2, 51));
    let third = store.add_key("d", &key(), change).await;
    assert!(matches!(third, Err(ChangeError::TooManyKeys(_))));
    let read = store.read_clients().await.unwrap();
    let stored: BTreeSet<[u8; 32]> = read.clients[0].keys.iter().map(|key| key.sha256).collect();
    assert_eq!(stored, BTreeSet::from([first.sha256, second.sha256]));
    store.remove_key("d", &first.id, change).await.unwrap();
    let again = store.remove_key("d", &first.id, change).await;
    assert!(matches!(again, Err(ChangeError::NoKey { .. })));
    store
        .delete_client("d", &Precondition::None, change)
        .await
        .unwrap();
    assert!(store.read_clients().await.unwrap().clients.is_empty());
}

async fn pages_follow_each_other(store: &Store) {
    let actor = actor();
    for number in 0..25 {
        let spec = spec(&format!("page-{number:02}"), 1, &[]);
        store
            .put_client(&spec, None, &Precondition::None, at(&actor, 1))
            .await
            .unwrap();
    }
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = store.list_clients(&after, 10).await.unwrap();
        let Some(last) = page.last() else {
            break;
        };
        after.clone_from(&last.client_id);
        seen.extend(page.into_iter().map(|client| client.client_id));
    }
    let expected: Vec<String> = (0..25).map(|number| format!("page-{number:02}")).collect();
    assert_eq!(seen, expected);
}

async fn changes_are_told_of(store: &Store) {
    let actor = actor();
    let mut changes = Changes::of(store).await.unwrap();
    store
        .delete_client("page-00", &Precondition::None, at(&actor, 1))
        .await
        .unwrap();
    let told = timeout(Duration::from_secs(2), changes.changed()).await;
    told.expect("within two seconds").unwrap();
}

async fn schema_versions_come_and_go(database: &Database) {
    let is_there = async || migrations::status(database).await.unwrap().known[0].2;
    assert!(is_there().await);
    assert_eq!(migrations::up(database).await.unwrap(), [0_i64; 0]);
    assert_eq!(migrations::down(database).await.unwrap(), Some(1));
    assert!(!is_there().await);
    assert_eq!(migrations::down(database).await.unwrap(), None);
    assert_eq!(migrations::up(database).await.unwrap(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_does_it_all() {
    let directory = tempfile::tempdir().unwrap();
    suite(&Database::Sqlite(directory.path().join("weir db?.sqlite"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_does_it_all() {
    if let Some(postgres) = Postgres::start("postgres_does_it_all").await {
        suite(&postgres.database()).await;
    }
}

/// Rows of people who write with `sqlite3`: those that make no sense are left out and named.
#[tokio::test]
async fn rows_that_make_no_sense_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.db");
    let store = prepared(&Database::Sqlite(path.clone())).await;
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", path.display());
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    let refused = connection
        .execute("INSERT INTO clients VALUES ('a', -1, 10, 1)")
        .await;
    assert!(refused.unwrap_err().to_string().contains("CHECK"));
    for statement in [
        "PRAGMA ignore_check_constraints = ON",
        "INSERT INTO clients VALUES ('a', -1, 10, 1)",
        "INSERT INTO clients VALUES ('b', 1, -10, 1)",
        "INSERT INTO clients VALUES ('10.0.0.0/8', 5, 1, 1)",
        "INSERT INTO client_networks VALUES ('10.0.0.0/99', '10.0.0.0/8')",
        "INSERT INTO client_keys VALUES ('short', '10.0.0.0/8', x'00', 1)",
    ] {
        connection.execute(statement).await.unwrap();
    }
    let read = store.read_clients().await.unwrap();
    let bad: Vec<String> = read.bad.iter().map(ToString::to_string).collect();
    assert_eq!(
        bad,
        [
            "clients \"a\": capacity must be a whole number from 1 to 1000000000",
            "clients \"b\": rate_per_sec must be a number from 0.000001 to 10000000",
            "client_networks \"10.0.0.0/99\": is no address or network such as 10.0.0.0/8",
            "client_keys \"short\": sha256 is not 32 bytes long",
        ]
    );
    assert_eq!(read.clients.len(), 1);
    assert_eq!(
        read.clients[0].networks,
        [parse_network("10.0.0.0/8").unwrap()]
    );
}

/// sqlx takes no lock for SQLite, so processes that start together would make the tables twice.
#[tokio::test]
async fn many_processes_migrate_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("weir.db").display());
    for _ in ["new", "old"] {
        let processes = (0..16).map(|_| {
            let mut command = weir();
            command.args(["migrate", "up"]).env("DATABASE_URL", &url);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let processes: Vec<_> = processes.collect();
        for process in processes {
            let output = process.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    let output = weir()
        .args(["migrate", "status"])
        .env("DATABASE_URL", &url)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("1 clients: applied\n"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &directory
            .path()
            .join("weir.db")
            .metadata()
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

/// A migration that fails must not keep the lock.
#[tokio::test]
async fn a_failed_migration_blocks_nobody() {
    let Some(postgres) = Postgres::start("a_failed_migration_blocks_nobody").await else {
        return;
    };
    let mut connection = postgres.connect().await;
    connection
        .execute("CREATE TABLE audit (x int)")
        .await
        .unwrap();
    let error = migrations::up(&postgres.database())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"audit\" already exists"), "{error}");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    let is_free = async || {
        let mut beside = postgres.connect().await;
        let held = sqlx::query_scalar::<_, i64>(locks).fetch_one(&mut beside);
        held.await.unwrap() == 0
    };
    eventually("the server ends the session, and with it the lock", is_free).await;
    connection.execute("DROP TABLE audit").await.unwrap();
    assert_eq!(migrations::up(&postgres.database()).await.unwrap(), [1]);
}

/// One notification for a statement, and one for each of the tables that hold clients.
#[tokio::test]
async fn a_statement_gives_one_notification() {
    let Some(postgres) = Postgres::start("a_statement_gives_one_notification").await else {
        return;
    };
    let store = prepared(&postgres.database()).await;
    let mut changes = Changes::of(&store).await.unwrap();
    let mut connection: PgConnection = postgres.connect().await;
    let many =
        "INSERT INTO clients SELECT 'client-' || n, 1, 1, 1 FROM generate_series(1, 10000) n";
    connection.execute(many).await.unwrap();
    let told = timeout(Duration::from_secs(2), changes.changed()).await;
    told.expect("within two seconds").unwrap();
    let more = timeout(Duration::from_millis(300), changes.changed()).await;
    assert!(more.is_err(), "a second notification");
    // The connection is lost: what happened meanwhile is unknown.
    connection
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
        )
        .await
        .unwrap();
    let lost = timeout(Duration::from_secs(2), changes.changed()).await;
    assert!(lost.expect("at once").is_err());
}

#[test]
fn migrate_says_what_is_wrong() {
    let fails = |url: Option<&str>, expected: &str| {
        let mut command = weir();
        command.args(["migrate", "up"]);
        url.map(|url| command.env("DATABASE_URL", url));
        let output = thread::spawn(move || command.output().unwrap())
            .join()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{error}"
        );
    };
    fails(None, "error: no database is configured: set DATABASE_URL");
    fails(
        Some("mysql://u:secret@h/d"),
        "must be sqlite://FILE or postgres://",
    );
    fails(Some("sqlite:///nowhere/weir.db"), "cannot open /nowhere/");
    fails(
        Some("postgres://u:secret@localhost:1/d"),
        "postgres://u:***@localhost:1/d: ",
    );
}
