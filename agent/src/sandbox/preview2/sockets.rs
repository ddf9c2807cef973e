//! `wasi:sockets`: the library's own sockets, for attempts that were granted something to reach. Many a
//! component imports them without ever making one, so they can be imported by all; where nothing is
//! granted, what would make a socket or look up a name is refused.
//!
//! What may be reached is decided in `sandbox/network.rs`. Next: the methods, in `sockets/tcp.rs`,
//! `sockets/udp.rs` and `sockets/names.rs`.

mod names;
mod tcp;
mod udp;

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::{
    p2::{
        Network, SocketError, SocketResult, TcpSocket, UdpSocket,
        bindings::sockets::{
            instance_network, ip_name_lookup,
            network::{self, ErrorCode, IpAddressFamily},
            tcp as tcp_abi, tcp_create_socket, udp as udp_abi, udp_create_socket,
        },
    },
    sockets::WasiSocketsCtxView,
};

use crate::{
    profile::price,
    sandbox::{Guest, network::SocketPermit},
};

/// Most bytes that the kernel is asked to keep for a socket, each way.
const MAX_BUFFER_BYTES: u64 = 256 << 10;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Own = HasSelf<Guest>;
    instance_network::add_to_linker::<_, Own>(linker, |guest| guest)?;
    ip_name_lookup::add_to_linker::<_, Own>(linker, |guest| guest)?;
    network::add_to_linker::<_, Own>(linker, &network::LinkOptions::default(), |guest| guest)?;
    tcp_create_socket::add_to_linker::<_, Own>(linker, |guest| guest)?;
    udp_create_socket::add_to_linker::<_, Own>(linker, |guest| guest)?;
    tcp_abi::add_to_linker::<_, Own>(linker, |guest| guest)?;
    udp_abi::add_to_linker::<_, Own>(linker, |guest| guest)?;
    Ok(())
}

impl Guest {
    /// The library's view of the guest; where nothing is granted, it allows nothing.
    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        let resources = &mut self.resources;
        let network = resources.network.as_ref();
        let ctx = resources
            .sockets
            .get_or_insert_with(|| network.map(|network| network.context()).unwrap_or_default());
        WasiSocketsCtxView { ctx, table: &mut resources.table }
    }

    fn socket_permit(&self) -> SocketResult<SocketPermit> {
        let network = self.resources.network.as_ref().ok_or(ErrorCode::AccessDenied)?;
        Ok(network.socket().ok_or(ErrorCode::NewSocketLimit)?)
    }
}

impl instance_network::Host for Guest {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        self.meter.charge(price::CALL);
        instance_network::Host::instance_network(&mut self.sockets())
    }
}

impl network::Host for Guest {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.meter.charge(price::CALL);
        let error: &wasmtime::Error = self.resources.get(&error)?;
        let of_stream = error.downcast_ref::<wasmtime_wasi::sockets::ErrorCode>();
        let code = of_stream.map(|code| ErrorCode::from(*code));
        Ok(code.or_else(|| error.downcast_ref::<ErrorCode>().copied()))
    }
}

impl network::HostNetwork for Guest {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}

impl tcp_create_socket::Host for Guest {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.meter.charge(price::SOCKET);
        let permit = self.socket_permit()?;
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)?;
        self.resources.open_sockets.insert(socket.rep(), permit);
        Ok(socket)
    }
}

impl udp_create_socket::Host for Guest {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        self.meter.charge(price::SOCKET);
        let permit = self.socket_permit()?;
        let view = &mut self.sockets();
        let socket = udp_create_socket::Host::create_udp_socket(view, family).await?;
        self.resources.open_sockets.insert(socket.rep(), permit);
        Ok(socket)
    }
}
