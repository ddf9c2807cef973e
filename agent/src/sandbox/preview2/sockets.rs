//! `wasi:sockets`: many a component imports it without ever making a socket, so it is there, and what
//! would make a socket or look up a name is refused.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::{
    p2::{
        DynPollable, Network, SocketError, TcpSocket, UdpSocket,
        bindings::sockets::{
            instance_network,
            ip_name_lookup::{self, ResolveAddressStream},
            network::{self, ErrorCode, IpAddress, IpAddressFamily},
            tcp, tcp_create_socket, udp, udp_create_socket,
        },
    },
    sockets::{WasiSockets, WasiSocketsCtxView},
};

use crate::{profile::price, sandbox::Guest};

/// The number of the network, of which there is one; no table has it.
const NETWORK: u32 = 0;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Own = HasSelf<Guest>;
    instance_network::add_to_linker::<_, Own>(linker, |guest| guest)?;
    ip_name_lookup::add_to_linker::<_, Own>(linker, |guest| guest)?;
    network::add_to_linker::<_, Own>(linker, &network::LinkOptions::default(), |guest| guest)?;
    tcp_create_socket::add_to_linker::<_, Own>(linker, |guest| guest)?;
    udp_create_socket::add_to_linker::<_, Own>(linker, |guest| guest)?;
    // Methods of sockets, of which there are none: it does not matter whose they are.
    tcp::add_to_linker::<_, WasiSockets>(linker, no_sockets)?;
    udp::add_to_linker::<_, WasiSockets>(linker, no_sockets)?;
    Ok(())
}

/// Allows nothing.
fn no_sockets(guest: &mut Guest) -> WasiSocketsCtxView<'_> {
    let resources = &mut guest.resources;
    let ctx = resources.sockets.get_or_insert_default();
    WasiSocketsCtxView { ctx, table: &mut resources.table }
}

impl instance_network::Host for Guest {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        self.meter.charge(price::CALL);
        Ok(Resource::new_own(NETWORK))
    }
}

impl network::Host for Guest {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    /// No error comes from a network.
    fn network_error_code(
        &mut self,
        _: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.meter.charge(price::CALL);
        Ok(None)
    }
}

impl network::HostNetwork for Guest {
    fn drop(&mut self, _: Resource<Network>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        Ok(())
    }
}

impl tcp_create_socket::Host for Guest {
    fn create_tcp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> Result<Resource<TcpSocket>, SocketError> {
        self.meter.charge(price::CALL);
        Err(ErrorCode::AccessDenied.into())
    }
}

impl udp_create_socket::Host for Guest {
    async fn create_udp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> Result<Resource<UdpSocket>, SocketError> {
        self.meter.charge(price::CALL);
        Err(ErrorCode::AccessDenied.into())
    }
}

impl ip_name_lookup::Host for Guest {
    fn resolve_addresses(
        &mut self,
        _: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        self.meter.charge(price::CALL + price::copied(name.len()));
        Err(ErrorCode::PermanentResolverFailure.into())
    }
}

// No name is ever being resolved, so nobody holds one of these.
impl ip_name_lookup::HostResolveAddressStream for Guest {
    fn resolve_next_address(
        &mut self,
        _: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        Err(ErrorCode::PermanentResolverFailure.into())
    }

    fn subscribe(
        &mut self,
        _: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime::bail!("no name is being resolved")
    }

    fn drop(&mut self, _: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        Ok(())
    }
}
