//! `wasi:sockets/tcp`: connections to what is granted. Listening is refused by `sandbox/network.rs`.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Network, SocketResult, TcpSocket,
    bindings::sockets::{
        network::{IpAddressFamily, IpSocketAddress},
        tcp::{self, HostTcpSocket, ShutdownType},
    },
};

use super::{super::library, MAX_BUFFER_BYTES};
use crate::{profile::price, sandbox::Guest};

type This = Resource<TcpSocket>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);
type Accepted = (This, Resource<DynInputStream>, Resource<DynOutputStream>);

impl tcp::Host for Guest {}

impl HostTcpSocket for Guest {
    async fn start_bind(
        &mut self,
        this: This,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.meter.charge(price::SOCKET_CALL);
        HostTcpSocket::start_bind(&mut self.sockets(), this, network, address).await
    }

    async fn start_listen(&mut self, this: This) -> SocketResult<()> {
        self.meter.charge(price::SOCKET_CALL);
        HostTcpSocket::start_listen(&mut self.sockets(), this).await
    }

    library! { HostTcpSocket, sockets, price::SOCKET_CALL;
        finish_bind(this: This) -> SocketResult<()>;
        finish_listen(this: This) -> SocketResult<()>;
        accept(this: This) -> SocketResult<Accepted>;
        local_address(this: This) -> SocketResult<IpSocketAddress>;
        remote_address(this: This) -> SocketResult<IpSocketAddress>;
        is_listening(this: This) -> wasmtime::Result<bool>;
        address_family(this: This) -> wasmtime::Result<IpAddressFamily>;
        set_listen_backlog_size(this: This, value: u64) -> SocketResult<()>;
        keep_alive_enabled(this: This) -> SocketResult<bool>;
        set_keep_alive_enabled(this: This, value: bool) -> SocketResult<()>;
        keep_alive_idle_time(this: This) -> SocketResult<u64>;
        set_keep_alive_idle_time(this: This, value: u64) -> SocketResult<()>;
        keep_alive_interval(this: This) -> SocketResult<u64>;
        set_keep_alive_interval(this: This, value: u64) -> SocketResult<()>;
        keep_alive_count(this: This) -> SocketResult<u32>;
        set_keep_alive_count(this: This, value: u32) -> SocketResult<()>;
        hop_limit(this: This) -> SocketResult<u8>;
        set_hop_limit(this: This, value: u8) -> SocketResult<()>;
        receive_buffer_size(this: This) -> SocketResult<u64>;
        send_buffer_size(this: This) -> SocketResult<u64>;
        subscribe(this: This) -> wasmtime::Result<Resource<DynPollable>>;
        shutdown(this: This, how: ShutdownType) -> SocketResult<()>;
    }

    library! { HostTcpSocket, sockets, price::CONNECT;
        start_connect(this: This, network: Resource<Network>, address: IpSocketAddress)
            -> SocketResult<()>;
    }

    library! { HostTcpSocket, sockets, price::SOCKET;
        finish_connect(this: This) -> SocketResult<Streams>;
    }

    fn set_receive_buffer_size(&mut self, this: This, value: u64) -> SocketResult<()> {
        self.meter.charge(price::SOCKET_CALL);
        let value = value.min(MAX_BUFFER_BYTES);
        HostTcpSocket::set_receive_buffer_size(&mut self.sockets(), this, value)
    }

    fn set_send_buffer_size(&mut self, this: This, value: u64) -> SocketResult<()> {
        self.meter.charge(price::SOCKET_CALL);
        let value = value.min(MAX_BUFFER_BYTES);
        HostTcpSocket::set_send_buffer_size(&mut self.sockets(), this, value)
    }

    fn drop(&mut self, this: This) -> wasmtime::Result<()> {
        self.meter.charge(price::SOCKET_CALL);
        let number = this.rep();
        HostTcpSocket::drop(&mut self.sockets(), this)?;
        self.resources.open_sockets.remove(&number);
        Ok(())
    }
}
