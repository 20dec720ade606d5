//! The record of who changed what.

use serde::Serialize;
use serde_json::Value as Json;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use crate::store::{Store, StoreError, statement};

/// Who makes a change, and from where.
#[derive(Clone, Debug)]
pub struct Actor {
    /// How the actor showed who it is, such as `token`.
    pub name: String,
    /// Its address; empty for the process itself.
    pub address: String,
}

/// A change on its way into the record.
#[derive(Debug)]
pub(super) struct NewEntry<'a> {
    pub(super) actor: &'a Actor,
    pub(super) now_ms: i64,
    pub(super) action: &'static str,
    /// What was changed, such as `client/client1`.
    pub(super) subject: String,
    pub(super) old: Option<Json>,
    pub(super) new: Option<Json>,
}

/// A change of the record.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Its number. Later changes have higher ones.
    pub id: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What was done, such as `client.update`.
    pub action: String,
    /// What it was done to, such as `client/client1`.
    pub subject: String,
    /// What was there before; nothing if it is new.
    #[schema(value_type = Option<Object>)]
    pub old_value: Option<Json>,
    /// What is there now; nothing if it is gone.
    #[schema(value_type = Option<Object>)]
    pub new_value: Option<Json>,
}

/// Which entries to read.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of one subject.
    pub subject: Option<String>,
    /// Only those of one action.
    pub action: Option<String>,
    /// Only those of one actor.
    pub actor: Option<String>,
    /// Only those before this number.
    pub before: Option<i64>,
}

/// Writes a change, in the transaction that makes it.
pub(super) async fn record(
    transaction: &mut AnyConnection,
    entry: &NewEntry<'_>,
) -> Result<(), StoreError> {
    let text = |value: &Option<Json>| value.as_ref().map(Json::to_string);
    statement::query("INSERT INTO audit (at_ms, actor, address, action, subject, old_value, new_value) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(entry.now_ms)
        .bind(entry.actor.name.clone())
        .bind(entry.actor.address.clone())
        .bind(entry.action)
        .bind(entry.subject.clone())
        .bind(text(&entry.old))
        .bind(text(&entry.new))
        .execute(transaction)
        .await?;
    tracing::info!(
        actor = entry.actor.name,
        address = entry.actor.address,
        action = entry.action,
        subject = entry.subject,
        old = text(&entry.old),
        new = text(&entry.new),
        "changed through the admin API"
    );
    Ok(())
}

impl Store {
    /// Reads the record, the latest change first.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn audit(&self, filter: &Filter, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let rows = statement::query("SELECT id, at_ms, actor, address, action, subject, old_value, new_value FROM audit WHERE id < $1 AND ($2 = '' OR subject = $2) AND ($3 = '' OR action = $3) AND ($4 = '' OR actor = $4) ORDER BY id DESC LIMIT $5")
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.subject.clone().unwrap_or_default())
            .bind(filter.action.clone().unwrap_or_default())
            .bind(filter.actor.clone().unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(entry).collect()
    }
}

fn entry(row: &AnyRow) -> Result<Entry, StoreError> {
    let value = |column: usize| -> Result<Option<Json>, sqlx::Error> {
        let text: Option<String> = row.try_get(column)?;
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Json::String(text))))
    };
    Ok(Entry {
        id: row.try_get(0)?,
        at_ms: row.try_get(1)?,
        actor: row.try_get(2)?,
        address: row.try_get(3)?,
        action: row.try_get(4)?,
        subject: row.try_get(5)?,
        old_value: value(6)?,
        new_value: value(7)?,
    })
}
