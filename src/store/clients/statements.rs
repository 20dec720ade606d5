//! The statements that changes of clients consist of, within a transaction.

use sqlx::{AnyConnection, Row as _};

use crate::store::{
    StoreError,
    audit::{self, NewEntry},
    clients::{Change, ChangeError, ClientSpec, StoredClient},
    statement,
};

/// A client; `lock` ends the statement, such as ` FOR UPDATE`.
pub(super) async fn find(
    connection: &mut AnyConnection,
    id: &str,
    lock: &'static str,
) -> Result<Option<StoredClient>, StoreError> {
    let client =
        format!("SELECT capacity, rate_per_sec, version FROM clients WHERE client_id = $1{lock}");
    let row = statement::query(sqlx::AssertSqlSafe(client))
        .bind(id.to_owned())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let networks = "SELECT network FROM client_networks WHERE client_id = $1 ORDER BY network";
    let networks = statement::scalar(networks)
        .bind(id.to_owned())
        .fetch_all(&mut *connection);
    let networks = networks.await?;
    let keys = "SELECT key_id FROM client_keys WHERE client_id = $1 ORDER BY created_ms, key_id";
    let keys = statement::scalar(keys)
        .bind(id.to_owned())
        .fetch_all(&mut *connection)
        .await?;
    Ok(Some(StoredClient {
        client_id: id.to_owned(),
        capacity: row.try_get(0)?,
        rate_per_sec: row.try_get(1)?,
        networks,
        keys,
        version: row.try_get(2)?,
    }))
}

/// A client after a change.
pub(super) async fn reread(
    connection: &mut AnyConnection,
    id: &str,
) -> Result<StoredClient, ChangeError> {
    let found = find(connection, id, "").await?;
    found.ok_or_else(|| ChangeError::NotFound(id.to_owned()))
}

/// Gives a client its networks in place of those that it had.
pub(super) async fn put_networks(
    connection: &mut AnyConnection,
    spec: &ClientSpec,
) -> Result<(), ChangeError> {
    let delete = "DELETE FROM client_networks WHERE client_id = $1";
    statement::query(delete)
        .bind(spec.client_id.clone())
        .execute(&mut *connection)
        .await?;
    for network in &spec.networks {
        let owner = "SELECT client_id FROM client_networks WHERE network = $1";
        let owner: Option<String> = statement::scalar(owner)
            .bind(network.to_string())
            .fetch_optional(&mut *connection)
            .await?;
        let taken = |owner| ChangeError::NetworkTaken {
            network: *network,
            owner,
        };
        if let Some(owner) = owner {
            return Err(taken(owner));
        }
        let insert = "INSERT INTO client_networks (network, client_id) VALUES ($1, $2)";
        let inserted = statement::query(insert)
            .bind(network.to_string())
            .bind(spec.client_id.clone())
            .execute(&mut *connection)
            .await;
        inserted.map_err(|error| match is_taken(&error) {
            // By a transaction at the same time.
            true => taken(String::new()),
            false => error.into(),
        })?;
    }
    Ok(())
}

/// Makes a client's version another one.
pub(super) async fn bump(connection: &mut AnyConnection, id: &str) -> Result<(), ChangeError> {
    let bump = "UPDATE clients SET version = version + 1 WHERE client_id = $1";
    statement::query(bump)
        .bind(id.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a change into the record.
pub(super) async fn record(
    connection: &mut AnyConnection,
    change: Change<'_>,
    action: &'static str,
    old: Option<&StoredClient>,
    new: Option<&StoredClient>,
) -> Result<(), ChangeError> {
    let id = new.or(old).map_or("", |client| client.client_id.as_str());
    let entry = NewEntry {
        actor: change.actor,
        now_ms: change.now_ms,
        action,
        subject: format!("client/{id}"),
        old: old.map(StoredClient::to_json),
        new: new.map(StoredClient::to_json),
    };
    audit::record(connection, &entry).await?;
    Ok(())
}

/// Whether another row has the same key.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}
