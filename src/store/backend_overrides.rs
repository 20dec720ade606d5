//! Changes of backends that survive a restart.

use serde_json::{Value as Json, json};
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use crate::{
    config::{AdminState, BackendKey, BackendOverride, BackendOverrides, Overridden},
    store::{
        Store, StoreError,
        audit::{self, NewEntry},
        clients::Change,
        statement,
    },
};

impl Store {
    /// Reads all overrides. Rows that make no sense are left out.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn read_overrides(&self) -> Result<BackendOverrides, StoreError> {
        let rows = "SELECT upstream, backend, weight, file_weight, state, file_state, until_ms FROM backend_overrides";
        let rows = statement::query(rows)
            .fetch_all(&mut *self.read().await?)
            .await?;
        let mut overrides = BackendOverrides::default();
        for row in &rows {
            let (key, wanted) = read(row)?;
            overrides.set(key, Some(wanted));
        }
        Ok(overrides)
    }

    /// Writes an override, or takes it away, and records that.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn put_override(
        &self,
        key: &BackendKey,
        wanted: Option<&BackendOverride>,
        action: &'static str,
        change: Change<'_>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let old = find(&mut transaction, key).await?;
        if old.is_none() && wanted.is_none() {
            // Another process was faster.
            return Ok(());
        }
        let delete = "DELETE FROM backend_overrides WHERE upstream = $1 AND backend = $2";
        statement::query(delete)
            .bind(key.upstream.clone())
            .bind(key.backend.clone())
            .execute(&mut *transaction)
            .await?;
        if let Some(wanted) = wanted {
            insert(&mut transaction, key, wanted).await?;
        }
        let entry = NewEntry {
            actor: change.actor,
            now_ms: change.now_ms,
            action,
            subject: format!("backend/{}/{}", key.upstream, key.backend),
            old: old.as_ref().map(to_json),
            new: wanted.map(to_json),
        };
        audit::record(&mut transaction, &entry).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn find(
    connection: &mut AnyConnection,
    key: &BackendKey,
) -> Result<Option<BackendOverride>, StoreError> {
    let find = "SELECT upstream, backend, weight, file_weight, state, file_state, until_ms FROM backend_overrides WHERE upstream = $1 AND backend = $2";
    let row = statement::query(find)
        .bind(key.upstream.clone())
        .bind(key.backend.clone())
        .fetch_optional(connection)
        .await?;
    row.map(|row| read(&row).map(|(_, wanted)| wanted))
        .transpose()
}

async fn insert(
    connection: &mut AnyConnection,
    key: &BackendKey,
    wanted: &BackendOverride,
) -> Result<(), StoreError> {
    let (weight, state) = (wanted.weight, wanted.state);
    let number = |weight: std::num::NonZeroU16| i64::from(weight.get());
    statement::query("INSERT INTO backend_overrides (upstream, backend, weight, file_weight, state, file_state, until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(key.upstream.clone())
        .bind(key.backend.clone())
        .bind(weight.map(|weight| number(weight.value)))
        .bind(weight.map(|weight| number(weight.file)))
        .bind(state.map(|state| state.value.word()))
        .bind(state.map(|state| state.file.word()))
        .bind(wanted.until_ms)
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<(BackendKey, BackendOverride), StoreError> {
    let key = BackendKey {
        upstream: row.try_get(0)?,
        backend: row.try_get(1)?,
    };
    let weight = |column: usize| -> Result<_, sqlx::Error> {
        let weight: Option<i64> = row.try_get(column)?;
        Ok(weight.and_then(|weight| u16::try_from(weight).ok()?.try_into().ok()))
    };
    let state = |column: usize| -> Result<_, sqlx::Error> {
        let word: Option<String> = row.try_get(column)?;
        Ok(word.and_then(|word| AdminState::of(&word)))
    };
    let wanted = BackendOverride {
        weight: overridden(weight(2)?, weight(3)?),
        state: overridden(state(4)?, state(5)?),
        until_ms: row.try_get(6)?,
    };
    Ok((key, wanted))
}

fn overridden<T>(value: Option<T>, file: Option<T>) -> Option<Overridden<T>> {
    Some(Overridden {
        value: value?,
        file: file?,
    })
}

fn to_json(wanted: &BackendOverride) -> Json {
    json!({
        "weight": wanted.weight.map(|weight| weight.value),
        "state": wanted.state.map(|state| state.value.word()),
        "until_ms": wanted.until_ms,
    })
}
