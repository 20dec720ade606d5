//! A small application of users in PostgreSQL: what stands behind Weir's HTTP load balancer, and reaches
//! its database through Weir's TCP load balancer.
//!
//! `POST /users/create` with `{"name":"…"}`, `GET /users` (the latest hundred), `GET /health`.
//!
//! | variable | meaning |
//! |---|---|
//! | `LISTEN` | where it listens; default `0.0.0.0:8081` |
//! | `NAME` | what it is called in the header `X-Served-By`; default `users` |
//! | `WRITE_URL` | the database for writes, for example `postgres://users@weir:5433/users` |
//! | `READ_URL` | the database for reads, for example `postgres://users@weir:5434/users` |

#![allow(
    clippy::disallowed_methods,
    reason = "its settings are environment variables"
)]

use std::{env, error::Error, str::FromStr as _, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::net::TcpListener;

/// The database, by what is asked of it.
#[derive(Clone)]
struct Database {
    writes: PgPool,
    reads: PgPool,
}

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

#[derive(Serialize)]
struct User {
    id: i64,
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let database = Database {
        writes: pool(&env::var("WRITE_URL")?)?,
        reads: pool(&env::var("READ_URL")?)?,
    };
    let name = HeaderValue::from_str(&setting("NAME", "users"))?;
    let served_by = middleware::map_response(move |mut response: Response| {
        response.headers_mut().insert(SERVED_BY, name.clone());
        std::future::ready(response)
    });
    let router = Router::new()
        .route("/users/create", post(create))
        .route("/users", get(list))
        .route("/health", get("ok\n"))
        .layer(served_by)
        .with_state(database);
    let listener = TcpListener::bind(setting("LISTEN", "0.0.0.0:8081")).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

/// Connects when it is first asked, and tests a connection before each use: the one that was kept may
/// have ended with its server.
fn pool(url: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(3));
    Ok(pool.connect_lazy_with(options))
}

async fn create(
    State(database): State<Database>,
    Json(user): Json<NewUser>,
) -> Result<(StatusCode, Json<User>), Unavailable> {
    let insert = "INSERT INTO users (name) VALUES ($1) RETURNING id, name";
    let created = sqlx::query_as(insert).bind(user.name);
    let (id, name) = created.fetch_one(&database.writes).await?;
    Ok((StatusCode::CREATED, Json(User { id, name })))
}

async fn list(State(database): State<Database>) -> Result<Json<Vec<User>>, Unavailable> {
    let select = "SELECT id, name FROM users ORDER BY id DESC LIMIT 100";
    let users = sqlx::query_as(select).fetch_all(&database.reads).await?;
    let users = users.into_iter().map(|(id, name)| User { id, name });
    Ok(Json(users.collect()))
}

/// The database gave no answer. Whether a write was made is not known then.
struct Unavailable(sqlx::Error);

impl From<sqlx::Error> for Unavailable {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        let text = format!("the database gives no answer: {}\n", self.0);
        let retry = [(header::RETRY_AFTER, "1")];
        (StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response()
    }
}

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
