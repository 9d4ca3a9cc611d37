//! Whose address counts when proxies stand between: the last one that a proxy we trust has seen and we do not.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// The header that proxies append to.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A block of addresses, such as `10.0.0.0/8` or `::1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether `address` is in the block. An IPv4 address in IPv6 dress is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (network, width) = number(self.network);
        let (address, other_width) = number(address.to_canonical());
        let host_bits = u32::from(width - self.bits);
        width == other_width && (network ^ address).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// An address as a number and how many bits it has.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no block of addresses; write 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32");
        let (network, bits) = match text.split_once('/') {
            Some((network, bits)) => (network, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let (value, width) = number(network);
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(wrong());
        }
        // 10.1.2.3/8 is somebody's slip: it may mean the block or the machine.
        let host_bits = u32::from(width - bits);
        if host_bits > 0 && value & (u128::MAX >> (128 - host_bits)) != 0 {
            return Err(format!("{text:?} has bits set beyond its first {bits}; write the block's first address"));
        }
        Ok(Self { network, bits })
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

impl std::fmt::Debug for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Who is at the other end: `peer`, or, behind `trusted` proxies, the rightmost hop of `x-forwarded-for` that is not one
/// of them. What stands left of that anybody can write.
///
/// A hop that is no address ends the search: the proxy that passed it on is then the client.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let mut client = peer.to_canonical();
    let is_trusted = |address| trusted.iter().any(|block| block.contains(address));
    // Several headers are one list, in their order. Bytes that are no text make their whole header one bad hop.
    let hops = headers.get_all(FORWARDED_FOR).iter().rev();
    for hop in hops.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')) {
        if !is_trusted(client) {
            break;
        }
        match address(hop.trim()) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`.
fn address(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Vec<Cidr> {
        ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"].map(|text| text.parse().unwrap()).to_vec()
    }

    #[test]
    fn the_rightmost_hop_that_is_not_ours_is_the_client() {
        for (name, peer, headers, expected) in [
            ("no proxy", "198.51.100.7", &[][..], "198.51.100.7"),
            ("a stranger's header", "198.51.100.7", &["203.0.113.1"], "198.51.100.7"),
            ("one proxy", "10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("one proxy and a liar", "10.0.0.1", &["1.1.1.1, 203.0.113.1"], "203.0.113.1"),
            ("two proxies", "10.0.0.1", &["1.1.1.1, 203.0.113.1 ,10.9.9.9"], "203.0.113.1"),
            ("a liar who names our proxy", "10.0.0.1", &["10.1.1.1, 203.0.113.1"], "203.0.113.1"),
            ("two headers", "10.0.0.1", &["203.0.113.1", "10.9.9.9"], "203.0.113.1"),
            ("two headers and a liar", "10.0.0.1", &["1.1.1.1", "203.0.113.1, 10.9.9.9"], "203.0.113.1"),
            ("all ours", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("no header", "10.0.0.1", &[], "10.0.0.1"),
            ("empty header", "10.0.0.1", &[""], "10.0.0.1"),
            ("garbage next to us", "10.0.0.1", &["203.0.113.1, unknown"], "10.0.0.1"),
            ("garbage further off", "10.0.0.1", &["unknown, 10.0.0.2"], "10.0.0.2"),
            ("with a port", "10.0.0.1", &["203.0.113.1:5555"], "203.0.113.1"),
            ("IPv6", "10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("IPv6 with a port", "10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("IPv6 in brackets", "10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("an IPv6 proxy", "2001:db8:1::5", &["203.0.113.1"], "203.0.113.1"),
            ("a dual-stack socket's peer", "::ffff:10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("a mapped hop is trusted too", "10.0.0.1", &["203.0.113.1, ::ffff:10.0.0.2"], "203.0.113.1"),
        ] {
            let mut map = HeaderMap::new();
            for header in headers {
                map.append(FORWARDED_FOR, header.parse().unwrap());
            }
            let client = client_ip(peer.parse().unwrap(), &map, &trusted());
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{name}");
            assert_eq!(client_ip(peer.parse().unwrap(), &map, &[]), peer.parse::<IpAddr>().unwrap().to_canonical());
        }
        let mut map = HeaderMap::new();
        map.append(FORWARDED_FOR, http::HeaderValue::from_bytes(b"203.0.113.1, \xff").unwrap());
        assert_eq!(client_ip("10.0.0.1".parse().unwrap(), &map, &trusted()).to_string(), "10.0.0.1");
    }

    #[test]
    fn a_block_holds_its_addresses() {
        for (block, address, inside) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::1", true),
            ("::/0", "1.2.3.4", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
        ] {
            let block: Cidr = block.parse().unwrap();
            assert_eq!(block.contains(address.parse().unwrap()), inside, "{block} {address}");
        }
        for wrong in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.1/8", "ten", "::1/0"] {
            wrong.parse::<Cidr>().unwrap_err();
        }
        let json = r#"["10.0.0.0/8","::1/128"]"#;
        let blocks: Vec<Cidr> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&blocks).unwrap(), json);
        assert!(serde_json::from_str::<Cidr>("\"10.0.0.1/8\"").unwrap_err().to_string().contains("first address"));
    }
}
