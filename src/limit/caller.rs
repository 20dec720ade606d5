//! Which addresses are one client.

use std::net::{IpAddr, Ipv6Addr};

/// The address that stands for a client: an IPv4 address, also where it is mapped into IPv6, or the
/// /64 that an IPv6 host may choose its addresses from.
pub fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}
