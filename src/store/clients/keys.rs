//! A client's API keys.

use sqlx::AnyConnection;

use crate::{
    limit::StoredKey,
    store::{
        Store,
        clients::{
            Change, ChangeError, StoredClient,
            statements::{bump, find, record, reread},
        },
        statement,
    },
};

impl Store {
    /// Gives a client a further key, and records that.
    ///
    /// # Errors
    ///
    /// When the client is not there or has two, or the database gives no answer.
    pub async fn add_key(
        &self,
        id: &str,
        key: &StoredKey,
        change: Change<'_>,
    ) -> Result<StoredClient, ChangeError> {
        let mut transaction = self.begin().await?;
        let old = find(&mut transaction, id, self.for_update()).await?;
        let old = old.ok_or_else(|| ChangeError::NotFound(id.to_owned()))?;
        if old.keys.len() >= KEYS_MAX {
            return Err(ChangeError::TooManyKeys(id.to_owned()));
        }
        insert_key(&mut transaction, id, key, change.now_ms).await?;
        bump(&mut transaction, id).await?;
        let new = reread(&mut transaction, id).await?;
        record(
            &mut transaction,
            change,
            "client.add_key",
            Some(&old),
            Some(&new),
        )
        .await?;
        transaction.commit().await?;
        Ok(new)
    }

    /// Takes a key away, and records that.
    ///
    /// # Errors
    ///
    /// When the client or the key is not there, or the database gives no answer.
    pub async fn remove_key(
        &self,
        id: &str,
        key: &str,
        change: Change<'_>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin().await?;
        let old = find(&mut transaction, id, self.for_update()).await?;
        let old = old.ok_or_else(|| ChangeError::NotFound(id.to_owned()))?;
        let delete = "DELETE FROM client_keys WHERE key_id = $1 AND client_id = $2";
        let deleted = statement::query(delete)
            .bind(key.to_owned())
            .bind(id.to_owned())
            .execute(&mut *transaction)
            .await?;
        if deleted.rows_affected() == 0 {
            return Err(ChangeError::NoKey {
                client: id.to_owned(),
                key: key.to_owned(),
            });
        }
        bump(&mut transaction, id).await?;
        let new = reread(&mut transaction, id).await?;
        record(
            &mut transaction,
            change,
            "client.remove_key",
            Some(&old),
            Some(&new),
        )
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Stores a key.
pub(super) async fn insert_key(
    connection: &mut AnyConnection,
    id: &str,
    key: &StoredKey,
    now_ms: i64,
) -> Result<(), ChangeError> {
    let insert =
        "INSERT INTO client_keys (key_id, client_id, sha256, created_ms) VALUES ($1, $2, $3, $4)";
    statement::query(insert)
        .bind(key.id.to_string())
        .bind(id.to_owned())
        .bind(key.sha256.to_vec())
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// One to use, and one that takes its place.
const KEYS_MAX: usize = 2;
