//! Clients as the API reads and shows them.

use std::num::NonZeroU32;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value as Json;

use crate::{
    control::admin::{
        api::from_value,
        problem::{FieldError, Problem},
    },
    limit::{Quota, QuotaFault, Rate},
    store::{
        clients::{ClientSpec, StoredClient},
        parse_network,
    },
};

/// A client that is to be.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientBody {
    /// Its name: letters, digits and `-._:/@+`. An address or a network, such as `10.0.0.0/8`, stands
    /// for it. May be left out where the path has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128, example = "client1")]
    pub(super) client_id: Option<String>,
    /// Requests that it may make at once.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 100)]
    pub(super) capacity: i64,
    /// Requests a second that it may make in the long run.
    #[schema(minimum = 0.000001, maximum = 10_000_000, example = 10)]
    pub(super) rate_per_sec: f64,
    /// Its addresses and networks, beside an ID that is one.
    #[serde(default)]
    #[schema(max_items = 1000, example = json!(["10.1.0.0/16"]))]
    pub(super) networks: Vec<String>,
}

/// A change of a client. What is left out stays as it is.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what `ClientBody::patched` takes")]
pub(super) struct ClientPatch {
    /// Requests that it may make at once.
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 200)]
    capacity: Option<i64>,
    /// Requests a second that it may make in the long run.
    #[schema(minimum = 0.000001, maximum = 10_000_000)]
    rate_per_sec: Option<f64>,
    /// Its addresses and networks, instead of those that it has; none if `null`.
    #[schema(max_items = 1000)]
    networks: Option<Vec<String>>,
}

/// Reads a whole number, which JSON may also write as `100.0`.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole =
        |number: f64| (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64);
    let found = number.as_i64().or_else(|| number.as_f64().and_then(whole));
    found.ok_or_else(|| D::Error::custom(format!("{number} is not a whole number")))
}

/// A client.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ClientView {
    /// Its name.
    pub(super) client_id: String,
    /// Requests that it may make at once.
    pub(super) capacity: i64,
    /// Requests a second that it may make in the long run.
    #[schema(value_type = f64)]
    pub(super) rate_per_sec: serde_json::Number,
    /// Its addresses and networks, beside an ID that is one.
    pub(super) networks: Vec<String>,
    /// The public parts of its API keys, the oldest first.
    pub(super) keys: Vec<String>,
    /// Its API key. Shown in the answer that creates it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_key: Option<String>,
}

impl ClientBody {
    /// What the body asks for; `id` is the client that the path names.
    pub(super) fn spec(self, id: Option<&str>) -> Result<ClientSpec, Problem> {
        let mut errors = Vec::new();
        let named = self.client_id.as_deref();
        if let (Some(named), Some(id)) = (named, id)
            && named != id
        {
            errors.push(FieldError::new(
                "client_id",
                format!("is not {id:?}, which the path names"),
            ));
        }
        let client_id = id.or(named).unwrap_or_default();
        if let Some(detail) = bad_id(client_id) {
            errors.push(FieldError::new("client_id", detail));
        }
        let quota = self.quota().map_err(|error| errors.push(error)).ok();
        let networks = self.networks(&mut errors);
        match (quota, errors.is_empty()) {
            (Some(quota), true) => Ok(ClientSpec {
                client_id: client_id.to_owned(),
                quota,
                networks,
            }),
            _ => Err(Problem::of_fields(errors)),
        }
    }

    fn quota(&self) -> Result<Quota, FieldError> {
        let field = |fault: QuotaFault| match fault {
            QuotaFault::Capacity | QuotaFault::TooSlow => {
                FieldError::new("capacity", fault.to_string())
            }
            QuotaFault::Rate => FieldError::new("rate_per_sec", fault.to_string()),
        };
        let capacity = u32::try_from(self.capacity).ok().and_then(NonZeroU32::new);
        let capacity = capacity.ok_or(QuotaFault::Capacity).map_err(field)?;
        let rate = Rate::per_second(self.rate_per_sec).map_err(field)?;
        Quota::new(capacity, rate).map_err(field)
    }

    fn networks(&self, errors: &mut Vec<FieldError>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (text, index) in self.networks.iter().zip(0..) {
            let pointer = format!("networks/{index}");
            match parse_network(text) {
                Some(network) if networks.contains(&network) => {
                    errors.push(FieldError::new(&pointer, "is there twice"));
                }
                Some(network) => networks.push(network),
                None => {
                    let detail = "is no address or network such as 10.0.0.0/8";
                    errors.push(FieldError::new(&pointer, detail));
                }
            }
        }
        if networks.len() > NETWORKS_MAX {
            errors.push(FieldError::new("networks", "has more than 1000 elements"));
        }
        networks
    }

    /// The body of a client as it is, changed by a merge patch (RFC 7396).
    pub(super) fn patched(client: &StoredClient, patch: Json) -> Result<Self, Problem> {
        let now = Self {
            client_id: Some(client.client_id.clone()),
            capacity: client.capacity,
            rate_per_sec: client.rate_per_sec,
            networks: client.networks.clone(),
        };
        let mut value = serde_json::to_value(now).unwrap_or_default();
        merge(&mut value, patch);
        from_value(value)
    }
}

/// The merge of RFC 7396 section 2.
fn merge(target: &mut Json, patch: Json) {
    let Json::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Json::Object(serde_json::Map::new());
    }
    if let Json::Object(target) = target {
        for (name, value) in patch {
            if value.is_null() {
                target.remove(&name);
            } else {
                merge(target.entry(name).or_insert(Json::Null), value);
            }
        }
    }
}

impl From<StoredClient> for ClientView {
    fn from(client: StoredClient) -> Self {
        Self {
            rate_per_sec: number(client.rate_per_sec),
            client_id: client.client_id,
            capacity: client.capacity,
            networks: client.networks,
            keys: client.keys,
            api_key: None,
        }
    }
}

/// A whole number without a point, as clients of the API write it.
fn number(value: f64) -> serde_json::Number {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => serde_json::Number::from(value as i64),
        false => serde_json::Number::from_f64(value).unwrap_or_else(|| 0.into()),
    }
}

fn bad_id(id: &str) -> Option<&'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@+".contains(&byte);
    match id.len() {
        0 => Some("is missing"),
        ID_LENGTH_MAX.. => Some("has more than 128 characters"),
        _ if id.bytes().all(is_allowed) => None,
        _ => Some("has a character other than letters, digits and -._:/@+"),
    }
}

const ID_LENGTH_MAX: usize = 129;
const NETWORKS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(target: Json, patch: Json, expected: Json) {
        let mut merged = target;
        merge(&mut merged, patch);
        assert_eq!(merged, expected);
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn merges_as_the_rfc_does() {
        check(json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"}));
        check(json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"}));
        check(json!({"a":"b"}), json!({"a":null}), json!({}));
        check(
            json!({"a":"b","b":"c"}),
            json!({"a":null}),
            json!({"b":"c"}),
        );
        check(json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"}));
        check(json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]}));
        check(
            json!({"a":{"b":"c"}}),
            json!({"a":{"b":"d","c":null}}),
            json!({"a":{"b":"d"}}),
        );
        check(json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]}));
        check(json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"]));
        check(json!({"a":"b"}), json!(["c"]), json!(["c"]));
        check(json!({"a":"foo"}), json!(null), json!(null));
        check(json!({"a":"foo"}), json!("bar"), json!("bar"));
        check(json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1}));
        check(json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"}));
        check(
            json!({}),
            json!({"a":{"bb":{"ccc":null}}}),
            json!({"a":{"bb":{}}}),
        );
    }

    #[test]
    fn whole_rates_have_no_point() {
        assert_eq!(number(10.0).to_string(), "10");
        assert_eq!(number(0.5).to_string(), "0.5");
    }
}
