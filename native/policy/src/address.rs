//! Addresses: ranges of them, and whom a request speaks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of one family; bits beyond its length do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    pub fn new(address: IpAddr, length: u32) -> Result<Self, String> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most {
            Err(format!("{address}/{length} is no range of addresses"))
        } else {
            Ok(Self { address, length })
        }
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let apart = u32::from(own) ^ u32::from(other);
                self.length == 0 || apart >> (32 - self.length) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let apart = u128::from(own) ^ u128::from(other);
                self.length == 0 || apart >> (128 - self.length) == 0
            }
            _ => false,
        }
    }
}

/// What a socket that takes both families says of an IPv4 peer is that peer.
pub fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// How a connection manager finds out whom a peer speaks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `use_remote_address`
    pub remote: bool,
    /// `xff_num_trusted_hops`
    pub hops: u32,
}

impl Forwarding {
    /// Whom a request speaks for (Envoy: ConnectionManagerUtility::mutateRequestHeaders); `forwarded` is X-Forwarded-For,
    /// lines joined by commas.
    pub fn client(&self, peer: Option<IpAddr>, forwarded: &[u8]) -> Option<IpAddr> {
        let found = match (self.remote, self.hops) {
            (true, 0) => None,
            (true, hops) => last_address(forwarded, hops - 1),
            (false, hops) => last_address(forwarded, hops),
        };
        found.or(peer)
    }
}

/// The last address but `skipped` of the list (Envoy: Utility::getLastAddressFromXFF).
fn last_address(list: &[u8], skipped: u32) -> Option<IpAddr> {
    let mut list = std::str::from_utf8(list).ok()?;
    for _ in 0..skipped {
        list = list.rsplit_once(',')?.0;
    }
    let last = match list.rsplit_once(',') {
        Some((_, "")) | None => list,
        Some((_, last)) => last,
    };
    let last = last.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    if let Ok(address) = last.parse::<Ipv4Addr>() {
        return Some(IpAddr::V4(address));
    }
    let (address, _zone) = last.split_once('%').unwrap_or((last, ""));
    address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_its_own_family_only() {
        let holds = |range: &str, length, address| Network::new(ip(range), length).unwrap().holds(ip(address));
        assert!(holds("10.1.2.3", 8, "10.9.9.9") && !holds("10.1.2.3", 8, "11.1.2.3"));
        assert!(holds("0.0.0.0", 0, "255.1.1.1") && !holds("0.0.0.0", 0, "::1"));
        assert!(holds("10.0.0.1", 32, "10.0.0.1") && !holds("10.0.0.1", 32, "10.0.0.0"));
        assert!(holds("fd00::", 8, "fdff::1") && !holds("fd00::", 8, "fe00::1"));
        assert!(holds("::1", 128, "::1") && holds("::", 0, "fe80::1") && !holds("::", 0, "1.2.3.4"));
        assert!(Network::new(ip("10.0.0.0"), 33).is_err() && Network::new(ip("::"), 129).is_err());
        assert_eq!(plain(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }

    #[test]
    fn whom_a_peer_speaks_for_is_the_last_that_is_trusted() {
        let client = |remote, hops, list: &str| {
            Forwarding { remote, hops }.client(Some(ip("9.9.9.9")), list.as_bytes()).unwrap().to_string()
        };
        let list = "192.0.2.10, 192.0.2.1, 10.0.0.1";
        assert_eq!(client(false, 0, list), "10.0.0.1");
        assert_eq!(client(false, 1, list), "192.0.2.1");
        assert_eq!(client(false, 2, list), "192.0.2.10");
        assert_eq!(client(false, 3, list), "9.9.9.9");
        assert_eq!(client(true, 0, list), "9.9.9.9");
        assert_eq!(client(true, 1, list), "10.0.0.1");
        assert_eq!(client(true, 4, list), "9.9.9.9");
        for (list, last) in [
            ("", "9.9.9.9"),
            (",", "9.9.9.9"),
            ("1.1.1.1,", "9.9.9.9"),
            ("1.1.1.1, ", "9.9.9.9"),
            ("junk", "9.9.9.9"),
            ("1.1.1.1,junk", "9.9.9.9"),
            ("\t1.1.1.1 ", "1.1.1.1"),
            ("a, fd00::1", "fd00::1"),
            ("1.1.1.1:80", "9.9.9.9"),
            ("01.1.1.1", "9.9.9.9"),
        ] {
            assert_eq!(client(false, 0, list), last, "{list:?}");
        }
    }
}
