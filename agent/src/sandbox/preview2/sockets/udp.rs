//! `wasi:sockets/udp`: datagrams to and from what is granted.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynPollable, Network, SocketResult, UdpSocket,
    bindings::sockets::{
        network::{IpAddressFamily, IpSocketAddress},
        udp::{
            self, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket,
            IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream,
        },
    },
};

use super::{super::library, MAX_BUFFER_BYTES};
use crate::{profile::price, sandbox::Guest};

type This = Resource<UdpSocket>;
type Incoming = Resource<IncomingDatagramStream>;
type Outgoing = Resource<OutgoingDatagramStream>;

impl udp::Host for Guest {}

impl HostUdpSocket for Guest {
    async fn start_bind(
        &mut self,
        this: This,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.meter.charge(price::SOCKET);
        HostUdpSocket::start_bind(&mut self.sockets(), this, network, address).await
    }

    async fn stream(
        &mut self,
        this: This,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(Incoming, Outgoing)> {
        self.meter.charge(price::SOCKET_CALL);
        HostUdpSocket::stream(&mut self.sockets(), this, remote).await
    }

    library! { HostUdpSocket, sockets, price::SOCKET_CALL;
        finish_bind(this: This) -> SocketResult<()>;
        local_address(this: This) -> SocketResult<IpSocketAddress>;
        remote_address(this: This) -> SocketResult<IpSocketAddress>;
        address_family(this: This) -> wasmtime::Result<IpAddressFamily>;
        unicast_hop_limit(this: This) -> SocketResult<u8>;
        set_unicast_hop_limit(this: This, value: u8) -> SocketResult<()>;
        receive_buffer_size(this: This) -> SocketResult<u64>;
        send_buffer_size(this: This) -> SocketResult<u64>;
        subscribe(this: This) -> wasmtime::Result<Resource<DynPollable>>;
    }

    fn set_receive_buffer_size(&mut self, this: This, value: u64) -> SocketResult<()> {
        self.meter.charge(price::SOCKET_CALL);
        let value = value.min(MAX_BUFFER_BYTES);
        HostUdpSocket::set_receive_buffer_size(&mut self.sockets(), this, value)
    }

    fn set_send_buffer_size(&mut self, this: This, value: u64) -> SocketResult<()> {
        self.meter.charge(price::SOCKET_CALL);
        let value = value.min(MAX_BUFFER_BYTES);
        HostUdpSocket::set_send_buffer_size(&mut self.sockets(), this, value)
    }

    fn drop(&mut self, this: This) -> wasmtime::Result<()> {
        self.meter.charge(price::SOCKET_CALL);
        let number = this.rep();
        HostUdpSocket::drop(&mut self.sockets(), this)?;
        self.resources.open_sockets.remove(&number);
        Ok(())
    }
}

impl HostIncomingDatagramStream for Guest {
    fn receive(&mut self, this: Incoming, most: u64) -> SocketResult<Vec<IncomingDatagram>> {
        self.meter.charge(price::SOCKET_CALL);
        let received = HostIncomingDatagramStream::receive(&mut self.sockets(), this, most)?;
        let bytes = received.iter().map(|datagram| datagram.data.len()).sum();
        let datagrams = received.len() as u64 * price::DATAGRAM;
        self.meter.charge(datagrams + price::copied(bytes));
        Ok(received)
    }

    library! { HostIncomingDatagramStream, sockets, price::SOCKET_CALL;
        subscribe(this: Incoming) -> wasmtime::Result<Resource<DynPollable>>;
        drop(this: Incoming) -> wasmtime::Result<()>;
    }
}

impl HostOutgoingDatagramStream for Guest {
    fn send(&mut self, this: Outgoing, datagrams: Vec<OutgoingDatagram>) -> SocketResult<u64> {
        let bytes = datagrams.iter().map(|datagram| datagram.data.len()).sum();
        let each = datagrams.len() as u64 * price::DATAGRAM;
        self.meter.charge(price::SOCKET_CALL + each + price::copied(bytes));
        HostOutgoingDatagramStream::send(&mut self.sockets(), this, datagrams)
    }

    async fn drop(&mut self, this: Outgoing) -> wasmtime::Result<()> {
        self.meter.charge(price::SOCKET_CALL);
        HostOutgoingDatagramStream::drop(&mut self.sockets(), this).await
    }

    library! { HostOutgoingDatagramStream, sockets, price::SOCKET_CALL;
        check_send(this: Outgoing) -> SocketResult<u64>;
        subscribe(this: Outgoing) -> wasmtime::Result<Resource<DynPollable>>;
    }
}
