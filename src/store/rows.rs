//! From rows to clients. Rows may be written by hand, so each is checked.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU32, sync::Arc};

use ipnet::IpNet;
use sqlx::{Row as _, any::AnyRow};

use crate::limit::{Client, Quota, QuotaFault, Rate, StoredKey};

/// A row that makes no sense, and is left out.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[error("{table} {key:?}: {reason}")]
pub struct BadRow {
    /// The table.
    pub table: &'static str,
    /// The row's key.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

/// All clients as the database has them.
#[derive(Debug, Default)]
pub struct ReadClients {
    /// Those that can be used.
    pub clients: Vec<Client>,
    /// What cannot.
    pub bad: Vec<BadRow>,
}

impl ReadClients {
    pub(super) fn new(clients: &[AnyRow], networks: &[AnyRow], keys: &[AnyRow]) -> Self {
        let mut read = Self::default();
        let mut index = HashMap::new();
        for row in clients {
            match client(row) {
                Ok(client) => {
                    index.insert(client.id.clone(), read.clients.len());
                    read.clients.push(client);
                }
                Err(bad) => read.bad.push(bad),
            }
        }
        for row in networks {
            let added = network_row(row).map(|(client, network)| {
                if let Some(client) = read.client(&index, &client) {
                    client.networks.push(network);
                }
            });
            read.bad.extend(added.err());
        }
        for row in keys {
            let added = key_row(row).map(|(client, key)| {
                if let Some(client) = read.client(&index, &client) {
                    client.keys.push(key);
                }
            });
            read.bad.extend(added.err());
        }
        read
    }

    fn client(&mut self, index: &HashMap<Arc<str>, usize>, id: &str) -> Option<&mut Client> {
        self.clients.get_mut(*index.get(id)?)
    }
}

fn client(row: &AnyRow) -> Result<Client, BadRow> {
    let id: String = row.try_get(0).unwrap_or_default();
    let bad = |reason: String| BadRow {
        table: "clients",
        key: id.clone(),
        reason,
    };
    let capacity: i64 = row.try_get(1).map_err(|error| bad(error.to_string()))?;
    let rate: f64 = row.try_get(2).map_err(|error| bad(error.to_string()))?;
    let quota = quota(capacity, rate).map_err(|fault| bad(fault.to_string()))?;
    Ok(Client {
        quota,
        networks: parse_network(&id).into_iter().collect(),
        keys: Vec::new(),
        id: id.into(),
    })
}

/// A quota as the database and the API have it.
pub(super) fn quota(capacity: i64, rate_per_sec: f64) -> Result<Quota, QuotaFault> {
    let capacity = u32::try_from(capacity).ok().and_then(NonZeroU32::new);
    Quota::new(
        capacity.ok_or(QuotaFault::Capacity)?,
        Rate::per_second(rate_per_sec)?,
    )
}

fn network_row(row: &AnyRow) -> Result<(String, IpNet), BadRow> {
    let text: String = row.try_get(0).unwrap_or_default();
    let client: String = row.try_get(1).unwrap_or_default();
    match parse_network(&text) {
        Some(network) => Ok((client, network)),
        None => Err(BadRow {
            table: "client_networks",
            key: text,
            reason: "is no address or network such as 10.0.0.0/8".to_owned(),
        }),
    }
}

fn key_row(row: &AnyRow) -> Result<(String, StoredKey), BadRow> {
    let id: String = row.try_get(0).unwrap_or_default();
    let client: String = row.try_get(1).unwrap_or_default();
    let hash: Vec<u8> = row.try_get(2).unwrap_or_default();
    match hash.try_into() {
        Ok(sha256) => Ok((
            client,
            StoredKey {
                id: id.into(),
                sha256,
            },
        )),
        Err(_other_length) => Err(BadRow {
            table: "client_keys",
            key: id,
            reason: "sha256 is not 32 bytes long".to_owned(),
        }),
    }
}

/// An address or a network; bits behind the network's length are dropped.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .map(|address| IpNet::from(address.to_canonical()));
    address
        .or_else(|| text.parse().ok())
        .map(|network: IpNet| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_have_one_form() {
        let text = |text| parse_network(text).map(|network| network.to_string());
        assert_eq!(text("10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(text("::ffff:10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(text("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(text("2001:DB8::1").as_deref(), Some("2001:db8::1/128"));
        for bad in ["", "client1", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "/8"] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }

    #[test]
    fn quotas_that_make_no_sense_are_refused() {
        assert!(quota(100, 10.0).is_ok());
        for (capacity, rate) in [
            (0, 1.0),
            (-5, 1.0),
            (i64::MAX, 1.0),
            (1, 0.0),
            (1, -1.0),
            (1, f64::NAN),
        ] {
            assert!(quota(capacity, rate).is_err(), "{capacity} {rate}");
        }
    }
}
