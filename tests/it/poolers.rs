//! What stands between Weir and its database: poolers, and networks that lose bytes.

use sqlx::Executor as _;
use weir::store::migrations;

use crate::support::{JSON, Link, PgBouncer, Postgres, TestApp, admin};

const INSERT: &str =
    "INSERT INTO clients (client_id, capacity, rate_per_sec) VALUES ('desk', 5, 1)";
const REGISTERED: &str = "weir_rate_limit_clients{kind=\"registered\"}";

async fn follows_behind(mode: &str, test: &str) {
    let Some(postgres) = Postgres::start(test).await else {
        return;
    };
    let Some(pgbouncer) = PgBouncer::start(&postgres, mode, test).await else {
        return;
    };
    migrations::up(&postgres.database()).await.unwrap();
    let app = TestApp::start("", &format!("database: \"{}\"\n", pgbouncer.url()));
    app.until_metric("weir_database_up", 1).await;
    postgres.connect().await.execute(INSERT).await.unwrap();
    app.until_metric(REGISTERED, 1).await;
    let limit = r#"{"capacity":7,"rate_per_sec":1}"#;
    for _ in 0..20 {
        let put = admin(app.admin, "PUT", "/api/v1/clients/office", JSON, limit).await;
        assert!(matches!(put.status, 200 | 201), "{put:?}");
        let read = admin(app.admin, "GET", "/api/v1/clients/office", "", "").await;
        assert_eq!(read.body["capacity"], 7, "{read:?}");
    }
    app.until_metric(REGISTERED, 2).await;
    assert_eq!(app.metric("weir_database_up").await, 1);
}

#[tokio::test]
async fn changes_are_seen_behind_a_pooler_that_keeps_sessions() {
    let test = "changes_are_seen_behind_a_pooler_that_keeps_sessions";
    follows_behind("session", test).await;
}

#[tokio::test]
async fn changes_are_seen_behind_a_pooler_that_shares_connections() {
    let test = "changes_are_seen_behind_a_pooler_that_shares_connections";
    follows_behind("transaction", test).await;
}

/// A connection whose other end is gone without a word, as behind NAT, is noticed: it is asked every ten
/// seconds.
#[tokio::test]
async fn changes_are_seen_after_a_connection_was_lost_silently() {
    let test = "changes_are_seen_after_a_connection_was_lost_silently";
    let Some(postgres) = Postgres::start(test).await else {
        return;
    };
    migrations::up(&postgres.database()).await.unwrap();
    let link = Link::start(postgres.socket()).await;
    let url = format!("postgres://weir@{}/postgres", link.addr);
    let app = TestApp::start("", &format!("database: \"{url}\"\n"));
    app.until_metric("weir_database_up", 1).await;
    link.lose_open_connections();
    postgres.connect().await.execute(INSERT).await.unwrap();
    app.until_metric(REGISTERED, 1).await;
}
