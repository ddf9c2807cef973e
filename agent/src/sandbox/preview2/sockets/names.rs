//! `wasi:sockets/ip-name-lookup`: names of hosts that are granted, looked up by `sandbox/network.rs`.

use std::{net::IpAddr, pin::Pin, vec};

use wasmtime::component::Resource;
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynPollable, Network, Pollable, SocketError, SocketResult,
        bindings::sockets::{
            ip_name_lookup::{self, ResolveAddressStream},
            network::{ErrorCode, IpAddress},
        },
        subscribe,
    },
    runtime::{AbortOnDropJoinHandle, poll_noop, spawn},
};
use weir_proto::network::Host;

use crate::{
    profile::price,
    sandbox::{Guest, network::LookupError},
};

/// A lookup, and how far the guest has read what came of it.
enum Lookup {
    Looking(AbortOnDropJoinHandle<Result<Vec<IpAddr>, LookupError>>),
    Found(vec::IntoIter<IpAddr>),
    Failed(LookupError),
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Lookup::Looking(looking) = self {
            *self = match looking.await {
                Ok(addresses) => Lookup::Found(addresses.into_iter()),
                Err(error) => Lookup::Failed(error),
            };
        }
    }
}

impl ip_name_lookup::Host for Guest {
    fn resolve_addresses(
        &mut self,
        _: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        self.meter.charge(price::CALL + price::copied(name.len()));
        let network = self.resources.network.as_ref().ok_or(ErrorCode::PermanentResolverFailure)?;
        let host = name.parse::<Host>().map_err(|_| ErrorCode::InvalidArgument)?;
        self.meter.charge(price::LOOKUP);
        // It goes on by itself: what waits for its turn must be polled, whatever the guest polls.
        let looking = spawn(network.look_up(host).map_err(code)?);
        self.resources.push(Lookup::Looking(looking)).map_err(trapped)
    }
}

impl ip_name_lookup::HostResolveAddressStream for Guest {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        self.meter.charge(price::CALL);
        let lookup: &mut Lookup = self.resources.get_mut(&stream).map_err(trapped)?;
        let _ = poll_noop(Pin::new(&mut lookup.ready()));
        match lookup {
            Lookup::Looking(_) => Err(ErrorCode::WouldBlock.into()),
            Lookup::Found(addresses) => Ok(addresses.next().map(IpAddress::from)),
            Lookup::Failed(error) => Err(code(*error).into()),
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        let lookup = Resource::<Lookup>::new_borrow(stream.rep());
        subscribe(&mut self.resources.table, lookup)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        self.resources.remove::<Lookup, _>(&stream).map(drop)
    }
}

fn code(error: LookupError) -> ErrorCode {
    match error {
        LookupError::Denied => ErrorCode::PermanentResolverFailure,
        LookupError::Busy => ErrorCode::TemporaryResolverFailure,
        LookupError::NotFound => ErrorCode::NameUnresolvable,
    }
}

fn trapped(error: wasmtime::Error) -> SocketError {
    SocketError::trap(error)
}
