//! Listeners before PostgreSQL servers: checks know the primary, and sessions follow it.

use std::net::SocketAddr;

use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::support::{Link, Postgres, TestApp, eventually};

/// A listener before these servers.
fn sections(servers: &[SocketAddr], check: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|addr| format!("tcp://{addr}")).collect();
    format!(
        "tcp:\n  - {{ listen: 127.0.0.1:0, upstream: db }}\nupstreams:\n  db:\n    backends: [{}]\n    on_marked_down: close_sessions\n    \
         health_check: {{ {check}, interval: 200ms, timeout: 200ms, rise: 1, fall: 2 }}\n",
        servers.join(", ")
    )
}

async fn connect(app: &TestApp) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect(&format!("postgres://weir@{}/postgres", app.tcp.unwrap())).await
}

async fn available(app: &TestApp, server: SocketAddr) -> u64 {
    let page = app.metrics().await;
    let name = format!("weir_backend_available{{upstream=\"db\",backend=\"tcp://{server}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap_or("0").parse().unwrap()
}

/// A write listener goes to the primary alone, and to the next one once a replica is promoted.
#[tokio::test]
async fn writes_follow_the_primary() {
    let Some(mut primary) = Postgres::start("writes_follow_the_primary").await else {
        return;
    };
    primary
        .connect()
        .await
        .execute("CREATE TABLE written (number int PRIMARY KEY)")
        .await
        .unwrap();
    let replica = primary.replica().await;
    let links = [
        Link::start(primary.socket()).await,
        Link::start(replica.socket()).await,
    ];
    let addrs = links.each_ref().map(|link| link.addr);
    let app = TestApp::start("", &sections(&addrs, "postgres: primary, user: weir"));
    eventually("the primary is known", async || {
        available(&app, addrs[0]).await == 1
    })
    .await;
    assert_eq!(available(&app, addrs[1]).await, 0);
    for number in 0..6 {
        let mut session = connect(&app).await.unwrap();
        let insert = sqlx::query("INSERT INTO written VALUES ($1)").bind(number);
        insert.execute(&mut session).await.unwrap();
    }
    let mut open = connect(&app).await.unwrap();
    eventually("the replica has it all", async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM written");
        count.fetch_one(&mut replica.connect().await).await.unwrap() == 6
    })
    .await;
    primary.kill();
    assert!(open.execute("SELECT 1").await.is_err());
    replica.promote().await;
    eventually("writes go on", async || {
        let Ok(mut session) = connect(&app).await else {
            return false;
        };
        let insert = "INSERT INTO written VALUES (6)";
        session.execute(insert).await.is_ok()
    })
    .await;
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM written");
    let written = count.fetch_one(&mut replica.connect().await).await.unwrap();
    assert_eq!(written, 7);
}

/// A server that is not what a listener needs any more loses the sessions that it has.
#[tokio::test]
async fn sessions_leave_a_server_whose_role_changes() {
    let test = "sessions_leave_a_server_whose_role_changes";
    let Some(primary) = Postgres::start(test).await else {
        return;
    };
    let replica = primary.replica().await;
    let link = Link::start(replica.socket()).await;
    let app = TestApp::start("", &sections(&[link.addr], "postgres: replica, user: weir"));
    eventually("the replica is known", async || {
        available(&app, link.addr).await == 1
    })
    .await;
    let mut session = connect(&app).await.unwrap();
    session.execute("SELECT 1").await.unwrap();
    replica.promote().await;
    eventually("the session is closed", async || {
        app.metric("weir_tcp_faults_total{cause=\"marked_down\"}")
            .await
            == 1
    })
    .await;
    assert!(session.execute("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_check_logs_in_by_password() {
    let Some(postgres) = Postgres::start("a_check_logs_in_by_password").await else {
        return;
    };
    postgres
        .connect()
        .await
        .execute("CREATE USER checker PASSWORD 'secret'")
        .await
        .unwrap();
    postgres.ask_for_password("checker").await;
    let link = Link::start(postgres.socket()).await;
    for (password, up) in [("secret", 1), ("wrong", 0)] {
        let check = format!("postgres: primary, user: checker, password: {password}");
        let app = TestApp::start("", &sections(&[link.addr], &check));
        eventually("it is ready", async || app.readiness().await == 200).await;
        assert_eq!(available(&app, link.addr).await, up, "{password}");
    }
}

/// Checks that need no user leave no line in the server's log.
#[tokio::test]
async fn a_check_without_a_user_is_quiet() {
    let Some(mut postgres) = Postgres::start("a_check_without_a_user_is_quiet").await else {
        return;
    };
    let before = postgres.log();
    let link = Link::start(postgres.socket()).await;
    let app = TestApp::start("", &sections(&[link.addr], "postgres: any"));
    eventually("it is available", async || {
        available(&app, link.addr).await == 1
    })
    .await;
    connect(&app).await.unwrap().close().await.unwrap();
    assert_eq!(postgres.log(), before);
    postgres.kill();
    eventually("it is down", async || available(&app, link.addr).await == 0).await;
}

/// A check that a user without any rights makes.
const CHECK_OF_PRIMARY: &str = "postgres: primary, user: checker";

async fn with_checker(primary: &Postgres) {
    let create = "CREATE TABLE written (number int); CREATE ROLE checker LOGIN";
    primary.connect().await.execute(create).await.unwrap();
}

async fn primaries(app: &TestApp) -> u64 {
    app.metric("weir_postgres_primaries{upstream=\"db\"}").await
}

async fn write(app: &TestApp) -> bool {
    let Ok(mut session) = connect(app).await else {
        return false;
    };
    let insert = "INSERT INTO written VALUES (1)";
    session.execute(insert).await.is_ok()
}

async fn written(server: &Postgres) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM written");
    count.fetch_one(&mut server.connect().await).await.unwrap()
}

/// Of two servers that both take writes, the one in use stays in use, and the other gets none. After the
/// first one is down and back, its older timeline gets none any more.
#[tokio::test]
async fn one_of_two_primaries_is_used() {
    let Some(mut old) = Postgres::start("one_of_two_primaries_is_used").await else {
        return;
    };
    with_checker(&old).await;
    let mut new = old.replica().await;
    let links = [
        Link::start(old.socket()).await,
        Link::start(new.socket()).await,
    ];
    let addrs = links.each_ref().map(|link| link.addr);
    let app = TestApp::start("", &sections(&addrs, CHECK_OF_PRIMARY));
    eventually("writes work", async || write(&app).await).await;
    eventually("they are replicated", async || written(&new).await == 1).await;
    new.promote().await;
    eventually("there are two", async || primaries(&app).await == 2).await;
    for _ in 0..6 {
        assert!(write(&app).await);
    }
    assert_eq!((written(&old).await, written(&new).await), (7, 1));
    assert_eq!(available(&app, addrs[1]).await, 0);

    old.kill();
    eventually("writes go on", async || write(&app).await).await;
    let before = written(&new).await;
    old.restart().await;
    eventually("there are two again", async || primaries(&app).await == 2).await;
    for _ in 0..6 {
        assert!(write(&app).await);
    }
    assert_eq!((written(&old).await, written(&new).await), (7, before + 6));

    new.kill();
    eventually("one is left", async || primaries(&app).await == 1).await;
    assert!(!write(&app).await);
    assert_eq!(available(&app, addrs[0]).await, 0);
    new.restart().await;
    eventually("writes go on again", async || write(&app).await).await;
    assert_eq!(written(&old).await, 7);
}

/// Weir starts while there are two already: the newer timeline is used, whichever answers first.
#[tokio::test]
async fn the_newer_primary_is_used_from_the_start() {
    let Some(old) = Postgres::start("the_newer_primary_is_used_from_the_start").await else {
        return;
    };
    with_checker(&old).await;
    let new = old.replica().await;
    new.promote().await;
    let links = [
        Link::start(old.socket()).await,
        Link::start(new.socket()).await,
    ];
    let addrs = links.each_ref().map(|link| link.addr);
    for _ in 0..5 {
        let app = TestApp::start("", &sections(&addrs, CHECK_OF_PRIMARY));
        assert!(write(&app).await);
        assert_eq!(written(&old).await, 0);
    }
    assert_eq!(written(&new).await, 5);
}

/// The old primary is the only one left when Weir starts again.
#[tokio::test]
async fn an_old_primary_is_known_after_a_restart() {
    let Some(old) = Postgres::start("an_old_primary_is_known_after_a_restart").await else {
        return;
    };
    with_checker(&old).await;
    let new = old.replica().await;
    new.promote().await;
    let old_link = Link::start(old.socket()).await;
    let new_link = Link::start(new.socket()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.json");
    let sections = |addrs: &[SocketAddr]| {
        format!(
            "state_file: {}\n{}",
            file.display(),
            sections(addrs, CHECK_OF_PRIMARY)
        )
    };
    let app = TestApp::start("", &sections(&[new_link.addr]));
    assert!(write(&app).await);
    eventually("it is kept", async || file.exists()).await;
    drop(app);
    let app = TestApp::start("", &sections(&[old_link.addr]));
    eventually("it is found", async || primaries(&app).await == 1).await;
    assert!(!write(&app).await);
    assert_eq!(written(&old).await, 0);
}

/// A replica that replays nothing leaves within `max_lag`, and one on an idle primary stays.
#[tokio::test]
async fn a_replica_that_lags_leaves() {
    let Some(primary) = Postgres::start("a_replica_that_lags_leaves").await else {
        return;
    };
    with_checker(&primary).await;
    let replica = primary.replica().await;
    let links = [
        Link::start(primary.socket()).await,
        Link::start(replica.socket()).await,
    ];
    let [primary_addr, replica_addr] = links.each_ref().map(|link| link.addr);
    let check = "postgres: any, user: checker, max_lag: 400ms";
    let app = TestApp::start("", &sections(&[primary_addr, replica_addr], check));
    let is_in = async || available(&app, replica_addr).await == 1;
    eventually("it is in", is_in).await;
    let falls =
        format!("weir_backend_falls_total{{upstream=\"db\",backend=\"tcp://{replica_addr}\"}}");
    // Many times max_lag without a write.
    let probes = links[1].opened();
    eventually("checks have passed", async || {
        links[1].opened() > probes + 10
    })
    .await;
    assert_eq!(app.metric(&falls).await, 0);

    let execute = async |server: &Postgres, statement: &'static str| {
        server.connect().await.execute(statement).await.unwrap();
    };
    execute(&replica, "SELECT pg_wal_replay_pause()").await;
    execute(&primary, "INSERT INTO written VALUES (1)").await;
    eventually("it is out", async || !is_in().await).await;
    assert_eq!(available(&app, primary_addr).await, 1);
    execute(&replica, "SELECT pg_wal_replay_resume()").await;
    eventually("it is in again", is_in).await;

    // Nothing is written, but the replica would not learn of it.
    execute(&replica, "ALTER SYSTEM SET primary_conninfo = ''").await;
    execute(&replica, "SELECT pg_reload_conf()").await;
    eventually("it is out for its lost connection", async || !is_in().await).await;
}
