//! WASI preview 1, as core modules import it: 46 functions over the guest's own file system, clock,
//! random numbers and streams.
//!
//! What each takes and gives is decoded by the bindings that `wasmtime-wasi` generates from the WASI
//! documents; what they do is in `calls`, and here is the wrapper that has every call paid for.
//! Sockets cannot be made in preview 1, so those functions only ever say that a descriptor is none.

mod calls;
mod descriptors;
mod errno;
mod files;
mod paths;
mod poll;

#[cfg(test)]
mod tests;

use wasmtime::{Caller, Extern, Linker};
use wasmtime_wasi::{I32Exit, p1::wasi_snapshot_preview1 as abi};
use wiggle::GuestMemory;

pub(super) use self::{descriptors::Descriptors, files::Listing};
use super::{Guest, meter};
use crate::profile::price;

/// The module that its functions are imported from.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// Preview 1's `errno::success`.
const SUCCESS: i32 = 0;

/// Most random bytes between two looks at the guest's fuel.
const RANDOM_CHUNK_BYTES: usize = 64 << 10;

/// Links functions by their names, the types of their arguments in Wasm, and what a call costs
/// whatever it does. Those of `wait` may wait for something.
macro_rules! link {
    ($($(@$wait:ident)? $name:ident($($arg:ident: $type:ty),*) $price:expr;)*) => {
        /// The functions that a module may import.
        pub(super) const NAMES: &[&str] = &[$(stringify!($name),)* "proc_exit", "random_get"];

        fn link_generated(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {$(
            linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, Guest>, ($($arg,)*): ($($type,)*)| {
                Box::new(async move {
                    meter::enter(&mut caller, $price)?;
                    let answer = {
                        let (memory, guest) = memory_and_guest(&mut caller)?;
                        let mut memory = GuestMemory::Unshared(memory);
                        link!(@answer $($wait)? abi::$name(guest, &mut memory $(, $arg)*))
                    };
                    meter::settle(&mut caller).await?;
                    answer
                })
            },
        )?;
        )* Ok(()) }
    };
    (@answer wait $call:expr) => { $call.await };
    (@answer $call:expr) => { $call };
}

link! {
    args_get(argv: i32, bytes: i32) price::CALL;
    args_sizes_get(count: i32, bytes: i32) price::CALL;
    environ_get(names: i32, bytes: i32) price::CALL;
    environ_sizes_get(count: i32, bytes: i32) price::CALL;
    clock_res_get(clock: i32, out: i32) price::CALL;
    clock_time_get(clock: i32, precision: i64, out: i32) price::CALL;
    @wait fd_advise(fd: i32, offset: i64, len: i64, advice: i32) price::CALL;
    fd_allocate(fd: i32, offset: i64, len: i64) price::CALL;
    @wait fd_close(fd: i32) price::CALL;
    @wait fd_datasync(fd: i32) price::CALL;
    @wait fd_fdstat_get(fd: i32, out: i32) price::CALL;
    fd_fdstat_set_flags(fd: i32, flags: i32) price::CALL;
    fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64) price::CALL;
    @wait fd_filestat_get(fd: i32, out: i32) price::CALL;
    @wait fd_filestat_set_size(fd: i32, size: i64) price::CALL;
    @wait fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, flags: i32) price::CALL;
    @wait fd_pread(fd: i32, iovs: i32, len: i32, offset: i64, out: i32) price::FILE_CALL;
    fd_prestat_get(fd: i32, out: i32) price::CALL;
    fd_prestat_dir_name(fd: i32, path: i32, len: i32) price::CALL;
    @wait fd_pwrite(fd: i32, iovs: i32, len: i32, offset: i64, out: i32) price::FILE_CALL;
    @wait fd_read(fd: i32, iovs: i32, len: i32, out: i32) price::FILE_CALL;
    @wait fd_readdir(fd: i32, buffer: i32, len: i32, cookie: i64, out: i32) price::CALL;
    @wait fd_renumber(fd: i32, to: i32) price::CALL;
    @wait fd_seek(fd: i32, offset: i64, whence: i32, out: i32) price::CALL;
    @wait fd_sync(fd: i32) price::CALL;
    fd_tell(fd: i32, out: i32) price::CALL;
    @wait fd_write(fd: i32, iovs: i32, len: i32, out: i32) price::FILE_CALL;
    @wait path_create_directory(fd: i32, path: i32, len: i32) price::PATH_CALL;
    @wait path_filestat_get(fd: i32, flags: i32, path: i32, len: i32, out: i32)
        price::PATH_CALL;
    @wait path_filestat_set_times(
        fd: i32, flags: i32, path: i32, len: i32, atim: i64, mtim: i64, which: i32
    ) price::PATH_CALL;
    @wait path_link(
        fd: i32, flags: i32, path: i32, len: i32, to: i32, to_path: i32, to_len: i32
    ) price::PATH_CALL;
    @wait path_open(
        fd: i32, lookup: i32, path: i32, len: i32, open: i32, base: i64, inheriting: i64,
        flags: i32, out: i32
    ) price::PATH_CALL;
    @wait path_readlink(fd: i32, path: i32, len: i32, buffer: i32, room: i32, out: i32)
        price::PATH_CALL;
    @wait path_remove_directory(fd: i32, path: i32, len: i32) price::PATH_CALL;
    @wait path_rename(fd: i32, path: i32, len: i32, to: i32, to_path: i32, to_len: i32)
        price::PATH_CALL;
    @wait path_symlink(target: i32, target_len: i32, fd: i32, path: i32, len: i32)
        price::PATH_CALL;
    @wait path_unlink_file(fd: i32, path: i32, len: i32) price::PATH_CALL;
    @wait poll_oneoff(subscriptions: i32, events: i32, count: i32, out: i32) price::CALL;
    proc_raise(signal: i32) price::CALL;
    sched_yield() price::CALL;
    sock_accept(fd: i32, flags: i32, out: i32) price::CALL;
    sock_recv(fd: i32, iovs: i32, len: i32, flags: i32, out: i32, out_flags: i32) price::CALL;
    sock_send(fd: i32, iovs: i32, len: i32, flags: i32, out: i32) price::CALL;
    sock_shutdown(fd: i32, how: i32) price::CALL;
}

/// Links all of preview 1.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    link_generated(linker)?;
    // The generated one turns a code of 126 and above into an error without the code.
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(I32Exit(code).into())
    })?;
    // The generated one allocates what it hands out, all at once.
    linker.func_wrap_async(MODULE, "random_get", |caller, (start, bytes): (i32, i32)| {
        Box::new(random_get(caller, start, bytes))
    })?;
    Ok(())
}

/// The memory that a call works on, and everything else of the guest.
fn memory_and_guest<'a>(
    caller: &'a mut Caller<'_, Guest>,
) -> wasmtime::Result<(&'a mut [u8], &'a mut Guest)> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => {
            let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                wasmtime::bail!("it does not export its memory, so the host cannot answer it");
            };
            *caller.data_mut().memory.insert(memory)
        }
    };
    Ok(memory.data_and_store_mut(caller))
}

/// Fills `[start, start + bytes)` of the guest's memory.
async fn random_get(
    mut caller: Caller<'_, Guest>,
    start: i32,
    bytes: i32,
) -> wasmtime::Result<i32> {
    meter::enter(&mut caller, price::CALL)?;
    let (mut at, bytes) = (start as u32 as usize, bytes as u32 as usize);
    let end = at.saturating_add(bytes);
    let there = memory_and_guest(&mut caller)?.0.len();
    if there < end {
        // What WASI says of every pointer to what is not there.
        wasmtime::bail!("pointer out of bounds: {bytes} bytes at {at}, of {there} in all");
    }
    while at < end {
        let (memory, guest) = memory_and_guest(&mut caller)?;
        let chunk = &mut memory[at..end.min(at + RANDOM_CHUNK_BYTES)];
        guest.random.fill(chunk)?;
        at += chunk.len();
        guest.meter.charge(price::random(chunk.len()));
        meter::settle(&mut caller).await?;
        meter::enter(&mut caller, 0)?;
    }
    meter::settle(&mut caller).await?;
    Ok(SUCCESS)
}
