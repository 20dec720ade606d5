//! Where listeners are, so that no two conflict.

use std::net::{IpAddr, SocketAddr};

use crate::config::{diagnostic::Place, key::Key, section::Section};

/// The addresses of the listeners that were read so far.
#[derive(Debug, Default)]
pub(super) struct Addresses(Vec<Address>);

#[derive(Debug)]
struct Address {
    /// The key that it is the value of, for messages.
    key: String,
    addr: SocketAddr,
    /// Nowhere for a default.
    place: Place,
}

impl Addresses {
    /// Adds what a section has under `key`, and reports an earlier one that it conflicts with.
    pub(super) fn add<K>(&mut self, section: &Section<'_>, key: &Key<K>, addr: SocketAddr) {
        let added = Address {
            key: section.full_path(key.name),
            addr,
            place: section.value_place(key),
        };
        if let Some(other) = self.0.iter().find(|other| clash(addr, other.addr)) {
            let is_default = added.place == Place::Nowhere;
            let place = if is_default {
                &other.place
            } else {
                &added.place
            };
            let message = format!(
                "{} {addr} and {} {} conflict",
                added.key, other.key, other.addr
            );
            section.reading().fault(place.clone(), message);
        }
        self.0.push(added);
    }

    /// Where the address of a listener is given.
    pub(super) fn place_of(&self, addr: SocketAddr) -> Place {
        let listener = self.0.iter().find(|listener| listener.addr == addr);
        listener.map_or(Place::Nowhere, |listener| listener.place.clone())
    }
}

fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes IPv4 connections, too.
    let covers =
        |one: IpAddr, other: IpAddr| one.is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let is_everywhere = covers(one.ip(), other.ip()) || covers(other.ip(), one.ip());
    // Port 0 is another port each time.
    let is_same_port = one.port() == other.port() && one.port() != 0;
    is_same_port && (one.ip() == other.ip() || is_everywhere)
}
