//! Registered clients: reading all of them, and changing one.

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::{
    config::Database,
    limit::{Quota, StoredKey},
    store::{Store, StoreError, audit::Actor, rows::ReadClients, statement},
};

mod keys;
mod statements;

use keys::insert_key;
use statements::{find, is_taken, put_networks, record, reread};

/// A client as the API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredClient {
    /// Its name.
    pub client_id: String,
    /// Requests that it may make at once.
    pub capacity: i64,
    /// Requests a second that it may make in the long run.
    pub rate_per_sec: f64,
    /// Its addresses and networks, beside an ID that is one.
    pub networks: Vec<String>,
    /// The public parts of its keys, the oldest first.
    pub keys: Vec<String>,
    /// Rises with each change.
    pub version: i64,
}

/// What a client is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSpec {
    /// Its name.
    pub client_id: String,
    /// What it may do.
    pub quota: Quota,
    /// Its addresses and networks.
    pub networks: Vec<IpNet>,
}

/// What must hold of a client for a change of it to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is there and has one of these versions.
    Versions(Box<[i64]>),
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such client.
    #[error("there is no client {0:?}")]
    NotFound(String),
    /// There is one already.
    #[error("there is a client {0:?} already")]
    Exists(String),
    /// It was changed in the meantime.
    #[error("client {id:?} has version {version}, not the expected one")]
    Changed {
        /// The client.
        id: String,
        /// Its version.
        version: i64,
    },
    /// Two clients cannot have one network.
    #[error("network {network} is of client {owner:?}")]
    NetworkTaken {
        /// The network.
        network: IpNet,
        /// Whose it is.
        owner: String,
    },
    /// A client that changes its key needs two for a while, and no more.
    #[error("client {0:?} has two keys; remove one first")]
    TooManyKeys(String),
    /// There is no such key.
    #[error("client {client:?} has no key {key:?}")]
    NoKey {
        /// The client.
        client: String,
        /// The key.
        key: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The client as it is now.
    pub client: StoredClient,
    /// Whether it is new.
    pub is_new: bool,
}

/// When a change is made, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// By whom.
    pub actor: &'a Actor,
    /// When, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Store {
    /// Reads all clients.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn read_clients(&self) -> Result<ReadClients, StoreError> {
        let mut reading = self.read().await?;
        let clients = "SELECT client_id, capacity, rate_per_sec FROM clients ORDER BY client_id";
        let clients = statement::query(clients).fetch_all(&mut *reading).await?;
        let networks = "SELECT network, client_id FROM client_networks ORDER BY network";
        let networks = statement::query(networks).fetch_all(&mut *reading).await?;
        let keys = "SELECT key_id, client_id, sha256 FROM client_keys ORDER BY key_id";
        let keys = statement::query(keys).fetch_all(&mut *reading).await?;
        Ok(ReadClients::new(&clients, &networks, &keys))
    }

    /// Reads a page of clients in the order of their names, from behind one on.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn list_clients(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<StoredClient>, StoreError> {
        let ids = "SELECT client_id FROM clients WHERE client_id > $1 ORDER BY client_id LIMIT $2";
        let mut reading = self.read().await?;
        let ids: Vec<String> = statement::scalar(ids)
            .bind(after.to_owned())
            .bind(i64::from(limit))
            .fetch_all(&mut *reading)
            .await?;
        let mut clients = Vec::with_capacity(ids.len());
        for id in ids {
            clients.extend(find(&mut reading, &id, "").await?);
        }
        Ok(clients)
    }

    /// Reads one client; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// When the database gives no answer.
    pub async fn client(&self, id: &str) -> Result<Option<StoredClient>, StoreError> {
        find(&mut *self.read().await?, id, "").await
    }

    /// Makes a client what it is to be, and records that. `key` is its first, if it is new and gets
    /// one.
    ///
    /// # Errors
    ///
    /// When the precondition does not hold, a network is another client's, or the database gives no
    /// answer.
    pub async fn put_client(
        &self,
        spec: &ClientSpec,
        key: Option<&StoredKey>,
        precondition: &Precondition,
        change: Change<'_>,
    ) -> Result<Changed, ChangeError> {
        let mut transaction = self.begin().await?;
        let old = find(&mut transaction, &spec.client_id, self.for_update()).await?;
        precondition.check(&spec.client_id, old.as_ref())?;
        let version = old.as_ref().map_or(change.now_ms, |old| old.version + 1);
        let write = match &old {
            Some(_) => {
                "UPDATE clients SET capacity = $2, rate_per_sec = $3, version = $4 WHERE client_id = $1"
            }
            None => {
                "INSERT INTO clients (client_id, capacity, rate_per_sec, version) VALUES ($1, $2, $3, $4)"
            }
        };
        let written = statement::query(write)
            .bind(spec.client_id.clone())
            .bind(i64::from(spec.quota.capacity().get()))
            .bind(spec.quota.rate().to_f64())
            .bind(version)
            .execute(&mut *transaction)
            .await;
        written.map_err(|error| match is_taken(&error) {
            true => ChangeError::Exists(spec.client_id.clone()),
            false => error.into(),
        })?;
        put_networks(&mut transaction, spec).await?;
        if let Some(key) = key.filter(|_key| old.is_none()) {
            insert_key(&mut transaction, &spec.client_id, key, change.now_ms).await?;
        }
        let client = reread(&mut transaction, &spec.client_id).await?;
        let action = if old.is_some() {
            "client.update"
        } else {
            "client.create"
        };
        record(
            &mut transaction,
            change,
            action,
            old.as_ref(),
            Some(&client),
        )
        .await?;
        transaction.commit().await?;
        Ok(Changed {
            client,
            is_new: old.is_none(),
        })
    }

    /// Removes a client with its networks and keys, and records that.
    ///
    /// # Errors
    ///
    /// When it is not there, the precondition does not hold, or the database gives no answer.
    pub async fn delete_client(
        &self,
        id: &str,
        precondition: &Precondition,
        change: Change<'_>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin().await?;
        let old = find(&mut transaction, id, self.for_update()).await?;
        precondition.check(id, old.as_ref())?;
        let old = old.ok_or_else(|| ChangeError::NotFound(id.to_owned()))?;
        let delete = "DELETE FROM clients WHERE client_id = $1";
        statement::query(delete)
            .bind(id.to_owned())
            .execute(&mut *transaction)
            .await?;
        record(&mut transaction, change, "client.delete", Some(&old), None).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What makes PostgreSQL hold a row until the transaction ends; SQLite is locked as a whole.
    fn for_update(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "",
            Database::Postgres(_) => " FOR UPDATE",
        }
    }
}

impl Precondition {
    /// Whether it holds of a client.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn check(&self, id: &str, client: Option<&StoredClient>) -> Result<(), ChangeError> {
        match (self, client) {
            (Self::Absent, Some(_)) => Err(ChangeError::Exists(id.to_owned())),
            (Self::Exists | Self::Versions(_), None) => Err(ChangeError::NotFound(id.to_owned())),
            (Self::Versions(expected), Some(client)) if !expected.contains(&client.version) => {
                Err(ChangeError::Changed {
                    id: id.to_owned(),
                    version: client.version,
                })
            }
            (Self::None | Self::Absent | Self::Exists | Self::Versions(_), _) => Ok(()),
        }
    }
}

impl StoredClient {
    /// What the record keeps of it.
    fn to_json(&self) -> Json {
        json!({
            "capacity": self.capacity,
            "rate_per_sec": self.rate_per_sec,
            "networks": self.networks,
            "keys": self.keys,
        })
    }
}
