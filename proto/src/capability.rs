//! What a task may do beyond computing: see the real time, draw real random numbers, reach a host.
//!
//! A task with a capability is not pure: what it does may differ from one run to the next. Next:
//! `network`, what a grant of a host and port allows.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::network::{Host, Hosts, MalformedHost, MalformedPort, Ports};

/// Something that a task may do beyond computing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// The machine's own clocks, and real sleep.
    Clock,
    /// Random numbers of the machine, which nobody can foresee.
    Random,
    /// To speak to these hosts at these ports, over TCP, UDP or HTTP, and to look up their names.
    Net {
        /// Which hosts.
        hosts: Hosts,
        /// At which ports.
        ports: Ports,
    },
}

/// Each capability once, in order; none makes a task pure.
pub type Capabilities = BTreeSet<Capability>;

/// Most capabilities of a stage.
pub const MAX_CAPABILITIES: usize = 64;

/// How a grant of the network begins.
const NET: &str = "net:";

impl Capability {
    /// Whether a task with it has the machine's clocks: what it speaks to has them too, and a
    /// certificate is good for a time.
    pub fn has_real_time(&self) -> bool {
        match self {
            Capability::Clock | Capability::Net { .. } => true,
            Capability::Random => false,
        }
    }

    /// Whether a task with it has random numbers that nobody can foresee: a key that it agrees on
    /// with others would be no secret if it followed from what the task is.
    pub fn has_real_random(&self) -> bool {
        match self {
            Capability::Random | Capability::Net { .. } => true,
            Capability::Clock => false,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::Clock => f.write_str("clock"),
            Capability::Random => f.write_str("random"),
            Capability::Net { hosts, ports } => write!(f, "{NET}{hosts}:{ports}"),
        }
    }
}

/// What is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCapability {
    /// It begins with no word that is known.
    #[error("{word:?} is no capability; there are clock, random and net:HOST:PORT")]
    Unknown {
        /// Its beginning.
        word: String,
    },
    /// A grant without a host or without a port.
    #[error("{grant:?} lacks a host or a port; write net:HOST:PORT, such as net:example.org:443")]
    Incomplete {
        /// Its beginning.
        grant: String,
    },
    /// An IPv6 address whose end cannot be told.
    #[error("the IPv6 address of {grant:?} has no brackets; write net:[::1]:443")]
    NoBrackets {
        /// Its beginning.
        grant: String,
    },
    /// The host is none.
    #[error("the {0}")]
    Host(#[from] MalformedHost),
    /// The port is none.
    #[error("the {0}")]
    Port(#[from] MalformedPort),
}

impl FromStr for Capability {
    type Err = MalformedCapability;

    fn from_str(word: &str) -> Result<Capability, MalformedCapability> {
        let beginning = || word.chars().take(64).collect();
        match word {
            "clock" => Ok(Capability::Clock),
            "random" => Ok(Capability::Random),
            "net" => Err(MalformedCapability::Incomplete { grant: beginning() }),
            _ => {
                let unknown = || MalformedCapability::Unknown { word: beginning() };
                net(word.strip_prefix(NET).ok_or_else(unknown)?, beginning)
            }
        }
    }
}

/// Reads `HOST:PORT`.
fn net(grant: &str, beginning: impl Fn() -> String) -> Result<Capability, MalformedCapability> {
    let incomplete = || MalformedCapability::Incomplete { grant: beginning() };
    let (host, port) = grant.rsplit_once(':').ok_or_else(incomplete)?;
    // The colon was one of an address: there is none behind the brackets.
    if host.starts_with('[') && port.ends_with(']') {
        return Err(incomplete());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(MalformedCapability::NoBrackets { grant: beginning() });
    }
    let hosts = match host {
        "*" => Hosts::Any,
        host => Hosts::One(host.parse::<Host>()?),
    };
    Ok(Capability::Net { hosts, ports: port.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_read_as_it_is_printed() {
        for word in [
            "clock",
            "random",
            "net:example.org:443",
            "net:_sip.a-b.example:*",
            "net:127.0.0.1:80",
            "net:[::1]:65535",
            "net:*:53",
            "net:*:*",
        ] {
            let capability: Capability = word.parse().expect(word);
            assert_eq!(capability.to_string(), word);
        }
    }

    #[test]
    fn a_grant_is_printed_in_one_way_however_it_was_written() {
        for (written, printed) in [
            ("net:Example.ORG.:443", "net:example.org:443"),
            ("net:[::ffff:10.0.0.1]:80", "net:10.0.0.1:80"),
            ("net:[0::1]:080", "net:[::1]:80"),
        ] {
            assert_eq!(written.parse::<Capability>().expect(written).to_string(), printed);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (word, part) in [
            ("Clock", "\"Clock\" is no capability"),
            ("net", "lacks a host or a port"),
            ("net:example.org", "lacks a host or a port"),
            ("net:[::1]", "lacks a host or a port"),
            ("net:::1:80", "has no brackets"),
            ("net:[::g]:80", "host \"[::g]\" is no IPv6 address"),
            ("net::80", "host \"\" is empty"),
            ("net:127.1:80", "host \"127.1\" ends in a number"),
            ("net:*.example.org:80", "host \"*.example.org\" is no name"),
            ("net:example.org:0", "port \"0\" is not 1 to 65535"),
            ("net:example.org:https", "port \"https\" is not 1 to 65535"),
        ] {
            let message = word.parse::<Capability>().expect_err(word).to_string();
            assert!(message.contains(part), "{word}: {message}");
        }
    }

    #[test]
    fn what_speaks_to_others_has_real_time_and_luck() {
        let net: Capability = "net:*:*".parse().expect("a grant");
        assert!(net.has_real_time() && net.has_real_random());
        assert!(!Capability::Random.has_real_time());
        assert!(!Capability::Clock.has_real_random());
    }
}
