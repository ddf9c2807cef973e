//! Hosts and ports that a task may be granted, and what of them a grant allows.
//!
//! A host that a task names is read by the same rules as one that a grant names, so that no spelling
//! of an address passes for a name. Who looks names up is the agent's `sandbox`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
    str::FromStr,
};

/// Longest name of a host, in bytes, without a dot at its end (RFC 1035, section 3.1).
const MAX_NAME_BYTES: usize = 253;

/// Longest part of it between two dots, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// Most of a bad host that a message repeats, in characters.
const SHOWN_CHARS: usize = 64;

/// One host, by its name or its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// To be looked up.
    Name(HostName),
    /// An IPv4 address, or an IPv6 address that does not stand for one.
    Address(IpAddr),
}

/// A DNS name in ASCII and small letters, without a dot at its end; no notation of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// The hosts that a grant is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hosts {
    /// All there are, those next to the agent included: `*`.
    Any,
    /// This one.
    One(Host),
}

/// The ports that a grant is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// All there are: `*`.
    Any,
    /// This one.
    One(NonZeroU16),
}

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host {:?} {fault}", .host.chars().take(SHOWN_CHARS).collect::<String>())]
pub struct MalformedHost {
    host: String,
    fault: HostFault,
}

/// What is wrong with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum HostFault {
    #[error("is empty")]
    Empty,
    #[error("has more than {MAX_NAME_BYTES} bytes")]
    TooLong,
    #[error("is not ASCII; write it as DNS has it, with xn--")]
    NotAscii,
    #[error(
        "is no name: between dots are 1 to {MAX_LABEL_BYTES} letters, digits, `-` and `_`, without `-` at either end"
    )]
    Label,
    #[error("ends in a number and is no IPv4 address of four numbers from 0 to 255")]
    Number,
    #[error("is no IPv6 address")]
    NotIpv6,
    #[error("is an address of no host")]
    NoHost,
}

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {:?} is not 1 to 65535, nor `*`", .port.chars().take(SHOWN_CHARS).collect::<String>())]
pub struct MalformedPort {
    port: String,
}

impl Hosts {
    /// Whether the grant is about this host.
    pub fn allows(&self, host: &Host) -> bool {
        match self {
            Hosts::Any => true,
            Hosts::One(granted) => granted == host,
        }
    }
}

impl Ports {
    /// Whether the grant is about this port.
    pub fn allows(self, port: u16) -> bool {
        match self {
            Ports::Any => port != 0,
            Ports::One(granted) => granted.get() == port,
        }
    }
}

impl Host {
    /// The host of an address: an IPv6 address that stands for an IPv4 address is that one.
    ///
    /// Nothing where no host can have it: `0.0.0.0` and `::`, which a system may take for itself, and
    /// addresses of groups.
    pub fn of(address: IpAddr) -> Option<Host> {
        let address = address.to_canonical();
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        let no_host = address.is_unspecified() || address.is_multicast() || broadcast;
        (!no_host).then_some(Host::Address(address))
    }
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = MalformedHost;

    /// Reads a name, an IPv4 address, or an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Host, MalformedHost> {
        let malformed = |fault| MalformedHost { host: text.to_owned(), fault };
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match inner {
            Some(inner) => {
                let parsed = inner.parse::<Ipv6Addr>();
                Some(IpAddr::V6(parsed.map_err(|_| malformed(HostFault::NotIpv6))?))
            }
            None => text.parse::<IpAddr>().ok(),
        };
        match address {
            Some(address) => Host::of(address).ok_or_else(|| malformed(HostFault::NoHost)),
            None => parse_name(text).map(Host::Name).map_err(malformed),
        }
    }
}

fn parse_name(text: &str) -> Result<HostName, HostFault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(HostFault::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(HostFault::TooLong);
    }
    if !name.is_ascii() {
        return Err(HostFault::NotAscii);
    }
    if !name.split('.').all(is_label) {
        return Err(HostFault::Label);
    }
    // Systems take `127.1`, `0x7f.1` and `2130706433` for addresses.
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(HostFault::Number);
    }
    Ok(HostName(name.to_ascii_lowercase()))
}

fn is_label(label: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(known)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl FromStr for Ports {
    type Err = MalformedPort;

    fn from_str(text: &str) -> Result<Ports, MalformedPort> {
        if text == "*" {
            return Ok(Ports::Any);
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.parse().ok().filter(|_| digits);
        port.map(Ports::One).ok_or_else(|| MalformedPort { port: text.to_owned() })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name.as_str()),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hosts::Any => f.write_str("*"),
            Hosts::One(host) => write!(f, "{host}"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports::Any => f.write_str("*"),
            Ports::One(port) => write!(f, "{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap_or_else(|malformed| panic!("{malformed}"))
    }

    #[test]
    fn spellings_of_one_host_are_one_host() {
        for (one, other) in [
            ("example.org", "EXAMPLE.org."),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("127.0.0.1", "[::ffff:7f00:1]"),
            ("::1", "[0:0:0:0:0:0:0:1]"),
        ] {
            assert_eq!(host(one), host(other));
        }
        assert_ne!(host("localhost"), host("127.0.0.1"));
    }

    #[test]
    fn what_systems_take_for_an_address_is_no_name() {
        for text in
            ["127.1", "2130706433", "0x7f.1", "0X7f000001", "0177.0.0.01", "a.0x", "1.2.3.4."]
        {
            let fault = text.parse::<Host>().expect_err(text).fault;
            assert_eq!(fault, HostFault::Number, "{text}");
        }
        assert!(matches!(host("1e100.net"), Host::Name(_)));
    }

    #[test]
    fn what_no_host_can_be_called_is_refused_with_what_is_wrong() {
        let long = format!("{}a", "a.".repeat(127));
        for (text, fault) in [
            ("", HostFault::Empty),
            (".", HostFault::Empty),
            (&long[..], HostFault::TooLong),
            ("grün.de", HostFault::NotAscii),
            ("a..b", HostFault::Label),
            ("-a.b", HostFault::Label),
            ("user@host", HostFault::Label),
            ("a b", HostFault::Label),
            ("*.example.org", HostFault::Label),
            (&"a".repeat(64)[..], HostFault::Label),
            ("[::1", HostFault::Label),
            ("[1.2.3.4]", HostFault::NotIpv6),
            ("0.0.0.0", HostFault::NoHost),
            ("::", HostFault::NoHost),
            ("::ffff:0.0.0.0", HostFault::NoHost),
            ("224.0.0.1", HostFault::NoHost),
            ("255.255.255.255", HostFault::NoHost),
            ("ff02::1", HostFault::NoHost),
        ] {
            assert_eq!(text.parse::<Host>().expect_err(text).fault, fault, "{text}");
        }
        assert!(matches!(host(&long[2..]), Host::Name(_)));
    }

    #[test]
    fn a_grant_allows_its_host_and_its_port_alone() {
        let one = Hosts::One(host("example.org"));
        assert!(one.allows(&host("Example.ORG")));
        assert!(!one.allows(&host("sub.example.org")));
        assert!(!one.allows(&host("93.184.216.34")));
        assert!(Hosts::Any.allows(&host("93.184.216.34")));
        let port: Ports = "443".parse().expect("a port");
        assert!(port.allows(443));
        assert!(!port.allows(80));
        assert!(Ports::Any.allows(80));
        assert!(!Ports::Any.allows(0));
    }

    #[test]
    fn ports_are_1_to_65535() {
        for text in ["0", "65536", "-1", "+80", "", " 80", "http"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
        assert_eq!("65535".parse::<Ports>().expect("a port").to_string(), "65535");
    }
}
