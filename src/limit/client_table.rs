//! The registered clients, found by API key or address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

use crate::limit::{ApiKey, Quota, RecentRefusals, StoredKey, TokenBucket};

/// A client with a quota of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Its name, unique among clients.
    pub id: Arc<str>,
    /// What it may do.
    pub quota: Quota,
    /// Addresses whose requests are its own, unless a longer network is another client's.
    pub networks: Vec<IpNet>,
    /// Its keys.
    pub keys: Vec<StoredKey>,
}

/// A registered client and what it has used.
#[derive(Debug)]
pub struct Registered {
    /// What is registered.
    pub client: Client,
    /// The bucket of its own quota.
    pub bucket: Arc<TokenBucket>,
    /// Its buckets of the limits on listeners and routes, by [`Slot`].
    scoped: Box<[Arc<TokenBucket>]>,
    /// Its requests that were refused.
    pub refusals: Arc<RecentRefusals>,
}

/// Which of the limits on listeners and routes one is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Slot(pub usize);

/// All registered clients. Immutable; a look-up costs one hash for each length of network that is
/// registered, whatever the number of clients, and one SHA-256 for a request with a key.
#[derive(Debug, Default)]
pub struct ClientTable {
    clients: Vec<Arc<Registered>>,
    by_id: HashMap<Arc<str>, usize>,
    by_key: HashMap<Box<str>, (usize, StoredKey)>,
    v4: Networks<Ipv4Addr>,
    v6: Networks<Ipv6Addr>,
}

/// Networks of one family by their length in bits, the longest first.
#[derive(Debug)]
struct Networks<A>(Vec<(u8, HashMap<A, usize>)>);

impl<A> Default for Networks<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl ClientTable {
    /// The table of some clients, with buckets for a number of limits. A client that was there
    /// before goes on with what is left in its buckets. Of two clients with one network or key, the
    /// first gets its requests.
    pub fn new(clients: Vec<Client>, slots: usize, before: &Self) -> Self {
        let mut table = Self::default();
        for (index, client) in clients.into_iter().enumerate() {
            for &network in &client.networks {
                table.add_network(network, index);
            }
            for key in &client.keys {
                let entry = table.by_key.entry(key.id.clone());
                entry.or_insert_with(|| (index, key.clone()));
            }
            table.by_id.insert(Arc::clone(&client.id), index);
            let old = before.get(&client.id);
            table
                .clients
                .push(Arc::new(Registered::new(client, slots, old)));
        }
        let by_length = |length: &u8| std::cmp::Reverse(*length);
        table.v4.0.sort_by_key(|(length, _)| by_length(length));
        table.v6.0.sort_by_key(|(length, _)| by_length(length));
        table
    }

    /// The same clients, with buckets for another number of limits.
    #[must_use]
    pub fn with_slots(&self, slots: usize) -> Self {
        let clients = self
            .clients
            .iter()
            .map(|registered| registered.client.clone());
        Self::new(clients.collect(), slots, self)
    }

    fn add_network(&mut self, network: IpNet, client: usize) {
        match network.trunc() {
            IpNet::V4(network) => self.v4.add(network.prefix_len(), network.addr(), client),
            IpNet::V6(network) => self.v6.add(network.prefix_len(), network.addr(), client),
        }
    }

    /// The client that a request is of: the one whose key it has, else the one with the longest
    /// network that its address is in.
    pub fn find(&self, address: IpAddr, key: Option<&[u8]>) -> Option<&Arc<Registered>> {
        let by_key = key.and_then(|key| self.of_key(key));
        let index = by_key.or_else(|| self.of_address(address))?;
        self.clients.get(index)
    }

    fn of_key(&self, key: &[u8]) -> Option<usize> {
        if self.by_key.is_empty() {
            return None;
        }
        let key = ApiKey::parse(str::from_utf8(key).ok()?)?;
        let (client, stored) = self.by_key.get(key.id())?;
        stored.is_of(&key).then_some(*client)
    }

    fn of_address(&self, address: IpAddr) -> Option<usize> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(|length| network_v4(address, length)),
            IpAddr::V6(address) => self.v6.find(|length| network_v6(address, length)),
        }
    }

    /// The client of a name.
    pub fn get(&self, id: &str) -> Option<&Arc<Registered>> {
        self.clients.get(*self.by_id.get(id)?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.clients.iter()
    }

    /// Whether any client is known by a key.
    pub fn has_keys(&self) -> bool {
        !self.by_key.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

impl Registered {
    fn new(client: Client, slots: usize, before: Option<&Arc<Self>>) -> Self {
        let scoped = |slot| before.and_then(|before| before.scoped.get(slot)).cloned();
        Self {
            client,
            bucket: before.map_or_else(Arc::default, |before| Arc::clone(&before.bucket)),
            scoped: (0..slots)
                .map(|slot| scoped(slot).unwrap_or_default())
                .collect(),
            refusals: before.map_or_else(Arc::default, |before| Arc::clone(&before.refusals)),
        }
    }

    /// Its bucket of a limit on a listener or a route.
    pub fn scoped(&self, slot: Slot) -> Option<&TokenBucket> {
        self.scoped.get(slot.0).map(|bucket| &**bucket)
    }
}

impl<A: Eq + std::hash::Hash> Networks<A> {
    fn add(&mut self, length: u8, network: A, client: usize) {
        let known = self.0.iter().position(|(known, _)| *known == length);
        let index = known.unwrap_or_else(|| {
            self.0.push((length, HashMap::new()));
            self.0.len() - 1
        });
        if let Some((_, networks)) = self.0.get_mut(index) {
            networks.entry(network).or_insert(client);
        }
    }

    fn find(&self, network: impl Fn(u8) -> A) -> Option<usize> {
        let mut found = self
            .0
            .iter()
            .map(|(length, networks)| networks.get(&network(*length)));
        found.find_map(|client| client.copied())
    }
}

fn network_v4(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn network_v6(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::limit::{Rate, Tick};

    fn client(id: &str, networks: &[&str]) -> Client {
        Client {
            id: id.into(),
            quota: Quota::new(NonZeroU32::MIN, Rate::per_second(0.001).unwrap()).unwrap(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            keys: Vec::new(),
        }
    }

    fn table(clients: Vec<Client>) -> ClientTable {
        ClientTable::new(clients, 0, &ClientTable::default())
    }

    fn find<'a>(table: &'a ClientTable, address: &str, key: Option<&str>) -> Option<&'a str> {
        let found = table.find(address.parse().unwrap(), key.map(str::as_bytes));
        found.map(|registered| &*registered.client.id)
    }

    #[test]
    fn the_longest_network_wins() {
        let table = table(vec![
            client("all", &["0.0.0.0/0"]),
            client("ten", &["10.0.0.0/8", "2001:db8::/32"]),
            client("office", &["10.1.0.0/16"]),
            client("desk", &["10.1.2.3/32", "2001:db8::7/128"]),
        ]);
        let expected = [
            ("10.1.2.3", Some("desk")),
            ("::ffff:10.1.2.3", Some("desk")),
            ("10.1.2.4", Some("office")),
            ("10.2.0.1", Some("ten")),
            ("192.0.2.1", Some("all")),
            ("2001:db8::7", Some("desk")),
            ("2001:db8::8", Some("ten")),
            ("2001:db9::1", None),
        ];
        for (address, client) in expected {
            assert_eq!(find(&table, address, None), client, "{address}");
        }
    }

    #[test]
    fn a_key_wins_over_an_address_and_a_wrong_one_counts_for_nothing() {
        let text = ApiKey::generate(|below| fastrand::usize(..below));
        let stored = ApiKey::parse(&text).unwrap().stored();
        let mut forged = stored.clone();
        forged.sha256[0] ^= 1;
        let with = |stored| {
            let keyed = Client {
                keys: vec![stored],
                ..client("keyed", &[])
            };
            table(vec![keyed, client("desk", &["10.0.0.1/32"])])
        };
        let table = with(stored);
        assert_eq!(find(&table, "10.0.0.1", Some(&text)), Some("keyed"));
        assert_eq!(find(&table, "192.0.2.1", Some(&text)), Some("keyed"));
        assert_eq!(find(&table, "10.0.0.1", Some("client1")), Some("desk"));
        assert_eq!(find(&table, "192.0.2.1", Some("client1")), None);
        assert_eq!(find(&with(forged), "192.0.2.1", Some(&text)), None);
    }

    #[test]
    fn a_client_keeps_its_buckets_when_others_change() {
        let before = ClientTable::new(vec![client("a", &[])], 1, &ClientTable::default());
        let take = |table: &ClientTable| {
            let registered = table.get("a").unwrap();
            let now = Tick::after(std::time::Duration::from_secs(1));
            let quota = &registered.client.quota;
            let own = registered.bucket.take(quota, NonZeroU32::MIN, now).is_ok();
            let scoped = registered.scoped(Slot(0)).unwrap();
            (own, scoped.take(quota, NonZeroU32::MIN, now).is_ok())
        };
        assert_eq!(take(&before), (true, true));
        let clients = vec![client("b", &[]), client("a", &["10.0.0.1/32"])];
        let after = ClientTable::new(clients, 2, &before);
        assert_eq!(take(&after), (false, false));
        assert_eq!(take(&after.with_slots(1)), (false, false));
        assert!(after.get("a").unwrap().scoped(Slot(1)).is_some());
    }

    proptest! {
        /// The same client as by a search through all networks.
        #[test]
        fn agrees_with_a_search(
            networks in vec((any::<u32>(), 0_u8..=32), 1..30),
            addresses in vec(any::<u32>(), 1..50),
        ) {
            let mut nets: Vec<ipnet::Ipv4Net> = networks
                .iter()
                .map(|&(address, length)| {
                    // Close together, so that they contain each other.
                    let address = Ipv4Addr::from_bits(address & 0x0300_0303);
                    ipnet::Ipv4Net::new_assert(address, length).trunc()
                })
                .collect();
            nets.sort();
            nets.dedup();
            let clients = nets.iter().map(|net| client(&net.to_string(), &[&net.to_string()]));
            let table = table(clients.collect());
            for address in addresses {
                let address = Ipv4Addr::from_bits(address & 0x0300_0303);
                let longest = nets.iter().filter(|net| net.contains(&address));
                let longest = longest.max_by_key(|net| net.prefix_len()).map(ToString::to_string);
                let found = find(&table, &address.to_string(), None).map(str::to_owned);
                prop_assert_eq!(found, longest);
            }
        }
    }
}
