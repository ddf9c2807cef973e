//! WASI preview 2, as components import it: the same file system, clock, random numbers and streams
//! that preview 1 has, behind the interfaces of `wasi:cli/command`.
//!
//! What each function takes and gives is decoded by the bindings of `wasmtime-wasi`; what it does is
//! in the files beside this one, on the guest itself. Each notes its price, and a hook around every
//! call takes it. Sockets are the library's own, for who was granted something to reach with them.

mod cli;
mod clocks;
mod descriptors;
mod errors;
mod files;
mod http;
mod poll;
mod random;
mod sockets;
mod streams;

use std::{collections::BTreeMap, sync::Arc};

use wasmtime::{
    CallHook, CallHookHandler, Engine, Store, StoreContextMut,
    component::{HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    p2::bindings::{cli as cli_abi, clocks as clocks_abi, filesystem, random as random_abi},
    sockets::WasiSocketsCtx,
};
use wasmtime_wasi_io::bindings::wasi::io;

use self::http::Http;
use super::{
    Guest,
    key::GuestRandom,
    meter,
    network::{Network, SocketPermit},
};
use crate::profile::price;

/// Most descriptors, streams, pollables and errors that a guest holds at once, together. Preview 1
/// allows 1,024 descriptors, each of which may have some streams here.
const MAX_RESOURCES: usize = 8192;

/// The same of a guest that has the network: each may hold some of its bytes.
const MAX_RESOURCES_WITH_NETWORK: usize = 1024;

/// Most handles of a guest's own resources, for which Wasmtime keeps tables.
const MAX_HANDLES: usize = 100_000;

/// Most bytes that one call takes out of the guest, as lists and strings: they are copied to the
/// agent's memory, which no limit of the task counts. Four times what a stream says it takes.
const MAX_CALL_BYTES: usize = 4 << 20;

/// Most bytes that a call on a stream or file moves, as in preview 1: some quantum's worth.
const MAX_TRANSFER_BYTES: usize = 1 << 20;

/// Functions that are a library's, at one price; which library's is said by its view of the guest.
macro_rules! library {
    ($trait:path, $view:ident, $price:expr; $($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $name(&mut self $(, $arg: $type)*) -> $result {
            self.meter.charge($price);
            <_ as $trait>::$name(&mut self.$view() $(, $arg)*)
        }
    )*};
}

use library;

/// What a guest holds of the host, by the numbers that its handles stand for.
pub(crate) struct Resources {
    table: ResourceTable,
    /// Another stream of random numbers, for who asks for insecure ones.
    insecure: Option<GuestRandom>,
    /// What of the network may be reached, if anything.
    network: Option<Arc<Network>>,
    /// What sockets go by; made when first a function on sockets asks for it.
    sockets: Option<WasiSocketsCtx>,
    /// For each open socket, by its number, that there may be one.
    open_sockets: BTreeMap<u32, SocketPermit>,
    /// What requests of HTTP go by; made when first a function on them asks for it.
    http: Option<Box<Http>>,
}

/// Takes fuel for every call.
struct Hook;

impl Resources {
    pub(super) fn new(network: Option<Arc<Network>>) -> Resources {
        let mut table = ResourceTable::new();
        table.set_max_capacity(match network {
            None => MAX_RESOURCES,
            Some(_) => MAX_RESOURCES_WITH_NETWORK,
        });
        let open_sockets = BTreeMap::new();
        Resources { table, insecure: None, network, sockets: None, open_sockets, http: None }
    }

    /// Keeps a resource of ours under the type that the bindings have for it.
    ///
    /// # Errors
    /// When the guest has too many, which ends it.
    fn push<T: Send + 'static, U: 'static>(&mut self, own: T) -> wasmtime::Result<Resource<U>> {
        Ok(Resource::new_own(self.table.push(own)?.rep()))
    }

    /// The resource if it is of this type of ours, and not a library's.
    fn find<T: 'static, U: 'static>(&self, resource: &Resource<U>) -> Option<&T> {
        self.table.get(&Resource::new_borrow(resource.rep())).ok()
    }

    /// # Errors
    /// When there is none, which only a bug of ours can cause.
    fn get<T: 'static, U: 'static>(&self, resource: &Resource<U>) -> wasmtime::Result<&T> {
        Ok(self.table.get(&Resource::new_borrow(resource.rep()))?)
    }

    /// # Errors
    /// As `get`.
    fn get_mut<T: 'static, U: 'static>(
        &mut self,
        resource: &Resource<U>,
    ) -> wasmtime::Result<&mut T> {
        Ok(self.table.get_mut(&Resource::new_borrow(resource.rep()))?)
    }

    /// # Errors
    /// As `get`.
    fn remove<T: 'static, U: 'static>(&mut self, resource: &Resource<U>) -> wasmtime::Result<T> {
        Ok(self.table.delete(Resource::new_own(resource.rep()))?)
    }
}

/// Links all of preview 2.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    type Own = HasSelf<Guest>;
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    io::error::add_to_linker::<_, Own>(l, |guest| guest)?;
    io::poll::add_to_linker::<_, Own>(l, |guest| guest)?;
    io::streams::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::environment::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::exit::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::stdin::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::stdout::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::stderr::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::terminal_input::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::terminal_output::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::terminal_stdin::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::terminal_stdout::add_to_linker::<_, Own>(l, |guest| guest)?;
    cli_abi::terminal_stderr::add_to_linker::<_, Own>(l, |guest| guest)?;
    clocks_abi::monotonic_clock::add_to_linker::<_, Own>(l, |guest| guest)?;
    clocks_abi::wall_clock::add_to_linker::<_, Own>(l, |guest| guest)?;
    filesystem::preopens::add_to_linker::<_, Own>(l, |guest| guest)?;
    filesystem::types::add_to_linker::<_, Own>(l, |guest| guest)?;
    random_abi::random::add_to_linker::<_, Own>(l, |guest| guest)?;
    random_abi::insecure::add_to_linker::<_, Own>(l, |guest| guest)?;
    random_abi::insecure_seed::add_to_linker::<_, Own>(l, |guest| guest)?;
    sockets::link(l)?;
    http::link(l)?;
    Ok(linker)
}

/// Prepares the store of a component: calls are paid for, and bounded in what they copy.
pub(super) fn prepare(store: &mut Store<Guest>) {
    store.set_hostcall_fuel(MAX_CALL_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    store.call_hook_async(Hook);
}

#[wasmtime_wasi::async_trait]
impl CallHookHandler<Guest> for Hook {
    async fn handle_call_event(
        &self,
        mut store: StoreContextMut<'_, Guest>,
        event: CallHook,
    ) -> wasmtime::Result<()> {
        match event {
            CallHook::CallingHost => meter::look(&mut store),
            // Wasmtime's own helpers, such as the one that grows a memory, come here too. Compiled
            // code keeps its fuel in a register across those, so it may only be set where a function
            // of ours was called, which always has a price. And what a call allocates in the guest
            // for its result is the guest's own code, so the bill is settled before that.
            CallHook::ReturningFromHost | CallHook::CallingWasm
                if store.data().meter.has_bill() =>
            {
                store.data_mut().meter.charge(price::COMPONENT_CALL);
                meter::settle(&mut store).await
            }
            // What a helper of Wasmtime's did costs nothing, such as copying a string from one
            // component to another, and that may be as long as memory.
            CallHook::ReturningFromHost => {
                meter::rest(&mut store).await;
                Ok(())
            }
            CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
