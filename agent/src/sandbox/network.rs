//! What of the network an attempt may reach: what its grants say, and nothing else.
//!
//! A host that is granted by its name may be reached at the addresses that this attempt's own lookups
//! of that name found; nothing else is looked up. What guests call is in `preview2/sockets.rs` and
//! `preview2/http.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi::{
    WasiCtx,
    sockets::{SocketAddrUse, WasiSocketsCtx},
};
use weir_proto::{
    capability::{Capabilities, Capability},
    network::{Host, HostName, Hosts, Ports},
};

/// Most sockets that an attempt has open at once, those of HTTP requests included.
pub(super) const MAX_SOCKETS: usize = 64;

/// Most sockets of all attempts of this process, however many files it may open.
const MAX_SOCKETS_OF_ALL: u64 = 4096;

/// Most names that an attempt looks up at once.
const MAX_LOOKUPS: usize = 8;

/// Most names that all attempts of this process look up at once: a lookup holds a thread until the
/// system's resolver gives up, whether or not anybody still waits for it.
const MAX_LOOKUPS_OF_ALL: usize = 32;

/// Most addresses that are taken of one lookup.
const MAX_ADDRESSES_OF_NAME: usize = 64;

/// Most addresses that all lookups of an attempt may open to it.
const MAX_ADDRESSES: usize = 4096;

/// Half of the files that this process may open are left to the agent itself.
static SOCKETS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let sockets = (files.unwrap_or(u64::MAX) / 2).min(MAX_SOCKETS_OF_ALL);
    Arc::new(Semaphore::new(sockets as usize))
});

static LOOKUPS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOKUPS_OF_ALL)));

/// The network as one attempt may use it.
pub(crate) struct Network {
    grants: Vec<(Hosts, Ports)>,
    /// What lookups of granted names found, and the ports that the names were granted with.
    found: Mutex<BTreeMap<IpAddr, BTreeSet<Ports>>>,
    sockets: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
}

/// That there may be one more socket, until this is dropped.
pub(crate) struct SocketPermit {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Why a host's addresses are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("the host is not granted")]
    Denied,
    #[error("too many names are being looked up")]
    Busy,
    #[error("the host has no address")]
    NotFound,
}

impl Network {
    /// Nothing where nothing is granted.
    pub(super) fn granted(capabilities: &Capabilities) -> Option<Arc<Network>> {
        let grants: Vec<(Hosts, Ports)> = capabilities
            .iter()
            .filter_map(|capability| match capability {
                Capability::Clock | Capability::Random => None,
                Capability::Net { hosts, ports } => Some((hosts.clone(), *ports)),
            })
            .collect();
        if grants.is_empty() {
            return None;
        }
        Some(Arc::new(Network {
            grants,
            found: Mutex::default(),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }))
    }

    /// What the library's sockets ask before they do anything.
    pub(super) fn context(self: &Arc<Network>) -> WasiSocketsCtx {
        let network = self.clone();
        let mut builder = WasiCtx::builder();
        builder.allow_tcp(true).allow_udp(true).socket_addr_check(move |address, purpose| {
            let allowed = network.allows(address, purpose);
            Box::pin(async move { allowed })
        });
        builder.build().sockets().clone()
    }

    fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        match purpose {
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => {
                self.reaches(address)
            }
            // Any port of this side's, which nobody can have been told of.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                address.ip().is_unspecified() && address.port() == 0
            }
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => false,
        }
    }

    fn reaches(&self, address: SocketAddr) -> bool {
        let Some(host) = Host::of(address.ip()) else { return false };
        let found = |ports: &BTreeSet<Ports>| ports.iter().any(|p| p.allows(address.port()));
        let granted = self.grants_at(&host, address.port());
        let found_at = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        granted || found_at.get(&address.ip().to_canonical()).is_some_and(found)
    }

    /// Whether this very host is granted at this port: a name by its name alone.
    pub(super) fn grants_at(&self, host: &Host, port: u16) -> bool {
        self.grants.iter().any(|(hosts, ports)| hosts.allows(host) && ports.allows(port))
    }

    /// Leave to have one more socket; nothing where there are too many.
    pub(super) fn socket(&self) -> Option<SocketPermit> {
        let own = self.sockets.clone().try_acquire_owned().ok()?;
        let of_all = SOCKETS.clone().try_acquire_owned().ok()?;
        Some(SocketPermit { _own: own, _of_all: of_all })
    }

    /// The addresses of a host that is granted, which may be reached from then on.
    ///
    /// # Errors
    /// At once `Denied` where it is not, and `Busy`; in the end `NotFound`.
    pub(super) fn look_up(
        self: &Arc<Network>,
        host: Host,
    ) -> Result<impl Future<Output = Result<Vec<IpAddr>, LookupError>> + use<>, LookupError> {
        if !self.grants.iter().any(|(hosts, _)| hosts.allows(&host)) {
            return Err(LookupError::Denied);
        }
        let permit = self.lookups.clone().try_acquire_owned().map_err(|_| LookupError::Busy)?;
        let network = self.clone();
        Ok(async move {
            let _permit = permit;
            match host {
                Host::Address(address) => Ok(vec![address]),
                Host::Name(name) => network.look_up_name(name).await,
            }
        })
    }

    async fn look_up_name(&self, name: HostName) -> Result<Vec<IpAddr>, LookupError> {
        let addresses = resolve(name.clone()).await.map_err(|_| LookupError::NotFound)?;
        if addresses.is_empty() {
            return Err(LookupError::NotFound);
        }
        self.open(Host::Name(name), &addresses)?;
        Ok(addresses)
    }

    /// Lets the guest reach what a lookup found, at the ports that the name is granted with.
    fn open(&self, name: Host, addresses: &[IpAddr]) -> Result<(), LookupError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = self.grants.iter().filter(|(hosts, _)| hosts.allows(&name));
        let ports: BTreeSet<Ports> = granted.map(|(_, ports)| *ports).collect();
        for address in addresses {
            if found.len() >= MAX_ADDRESSES && !found.contains_key(address) {
                return Err(LookupError::Busy);
            }
            found.entry(*address).or_default().extend(&ports);
        }
        Ok(())
    }
}

/// Asks the system's resolver, in a thread, which keeps the permit for as long as it takes.
async fn resolve(name: HostName) -> io::Result<Vec<IpAddr>> {
    let permit = LOOKUPS.clone().acquire_owned().await.map_err(io::Error::other)?;
    let looking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let found = (name.as_str(), 0).to_socket_addrs()?;
        let hosts = found.filter_map(|address| match Host::of(address.ip()) {
            Some(Host::Address(address)) => Some(address),
            Some(Host::Name(_)) | None => None,
        });
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in hosts {
            if addresses.len() < MAX_ADDRESSES_OF_NAME && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    });
    looking.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(grants: &[&str]) -> Arc<Network> {
        let parsed = grants.iter().map(|grant| grant.parse().expect("a capability"));
        Network::granted(&parsed.collect()).expect("something is granted")
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address with its port")
    }

    #[test]
    fn without_a_grant_there_is_no_network() {
        assert!(Network::granted(&[Capability::Clock, Capability::Random].into()).is_none());
    }

    #[test]
    fn an_address_is_reached_at_its_port_alone_however_it_is_written() {
        let network = network(&["net:10.0.0.1:80", "net:[2001:db8::1]:*"]);
        for yes in ["10.0.0.1:80", "[::ffff:10.0.0.1]:80", "[2001:db8::1]:1", "[2001:db8::1]:9"] {
            assert!(network.reaches(address(yes)), "{yes}");
        }
        for no in ["10.0.0.1:81", "10.0.0.2:80", "[::ffff:10.0.0.2]:80", "[2001:db8::2]:1"] {
            assert!(!network.reaches(address(no)), "{no}");
        }
    }

    #[test]
    fn any_host_is_any_but_what_no_host_has() {
        let network = network(&["net:*:53"]);
        assert!(network.reaches(address("8.8.8.8:53")));
        assert!(network.reaches(address("127.0.0.1:53")));
        for no in ["8.8.8.8:54", "0.0.0.0:53", "[::]:53", "224.0.0.1:53", "255.255.255.255:53"] {
            assert!(!network.reaches(address(no)), "{no}");
        }
    }

    #[test]
    fn nothing_is_listened_at_and_no_port_is_chosen() {
        let network = network(&["net:*:*"]);
        let (any, chosen) = (address("0.0.0.0:0"), address("0.0.0.0:80"));
        for purpose in [SocketAddrUse::TcpBind, SocketAddrUse::UdpBind] {
            assert!(network.allows(any, purpose));
            assert!(network.allows(address("[::]:0"), purpose));
            assert!(!network.allows(chosen, purpose));
            assert!(!network.allows(address("127.0.0.1:0"), purpose));
        }
        for purpose in [SocketAddrUse::TcpListen, SocketAddrUse::TcpAccept] {
            assert!(!network.allows(any, purpose));
        }
    }

    #[tokio::test]
    async fn a_lookup_of_a_granted_name_opens_what_it_found_at_the_granted_ports() {
        let network = network(&["net:localhost:80", "net:localhost:81", "net:other.example:82"]);
        assert!(!network.reaches(address("127.0.0.1:80")));
        let found = network.look_up("LOCALHOST.".parse().expect("a host")).expect("it is granted");
        let found = found.await.expect("every machine has this one");
        let loopback = found.iter().all(|address| address.is_loopback());
        assert!(loopback && !found.is_empty(), "{found:?}");
        for (port, reached) in [(80, true), (81, true), (82, false)] {
            assert_eq!(network.reaches(SocketAddr::new(found[0], port)), reached, "{port}");
        }
        assert!(!network.reaches(address("127.0.0.77:80")));
    }

    #[test]
    fn what_is_not_granted_is_not_looked_up() {
        let network = network(&["net:other.example:82", "net:10.0.0.1:80"]);
        for host in ["localhost", "127.0.0.1", "sub.other.example"] {
            let denied = network.look_up(host.parse().expect("a host")).err();
            assert_eq!(denied, Some(LookupError::Denied), "{host}");
        }
    }

    #[tokio::test]
    async fn lookups_and_sockets_of_an_attempt_are_few() {
        let network = network(&["net:localhost:80"]);
        let look_up = || network.look_up("localhost".parse().expect("a host"));
        let lookups: Vec<_> = (0..MAX_LOOKUPS).map(|_| look_up().expect("not yet many")).collect();
        assert_eq!(look_up().err(), Some(LookupError::Busy));
        drop(lookups);
        assert!(look_up().is_ok());
        let sockets: Vec<_> = (0..MAX_SOCKETS).map_while(|_| network.socket()).collect();
        assert_eq!(sockets.len(), MAX_SOCKETS);
        assert!(network.socket().is_none());
        drop(sockets);
        assert!(network.socket().is_some());
    }

    #[test]
    fn lookups_open_no_end_of_addresses() {
        let network = network(&["net:localhost:80"]);
        let name = || "localhost".parse::<Host>().expect("a host");
        let at = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        let addresses: Vec<IpAddr> = (1..=MAX_ADDRESSES).map(at).collect();
        assert_eq!(network.open(name(), &addresses), Ok(()));
        assert_eq!(network.open(name(), &addresses[..1]), Ok(()));
        assert_eq!(network.open(name(), &[at(MAX_ADDRESSES + 1)]), Err(LookupError::Busy));
    }
}
