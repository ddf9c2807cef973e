//! Bare Wasmtime with its own WASI: what the sandbox is measured against.

use std::path::Path;

use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store};
use wasmtime_wasi::{
    FsPerms, I32Exit, WasiCtxBuilder,
    p1::{self, WasiP1Ctx},
    p2::pipe::MemoryOutputPipe,
};
use weir_proto::{job::StageSpec, metering::Metering};

use crate::{
    pool::Layout,
    profile::{self, QUANTUM_FUEL},
    sandbox::MemoryLimiter,
};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// That of the profile, with its pool.
    Profile,
    /// The same without either.
    Unmetered,
    /// What the `wasmtime` command has by default: no pool, no fuel, NaNs as they come.
    Command,
}

/// A module on such an engine.
pub(crate) struct Bare {
    pre: InstancePre<Host>,
    settings: Settings,
}

struct Host {
    wasi: WasiP1Ctx,
    limiter: MemoryLimiter,
}

impl Bare {
    pub(crate) fn new(settings: Settings, module: &[u8]) -> Bare {
        let engine = match settings {
            Settings::Profile => profile::engine(Metering::Fuel, Layout::of(20)),
            Settings::Unmetered => profile::unmetered_engine(Layout::of(20)),
            Settings::Command => Engine::new(&Config::new()),
        };
        let engine = engine.expect("an engine");
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_async(&mut linker, |host: &mut Host| &mut host.wasi).expect("names");
        let module = Module::new(&engine, module).expect("a module");
        Bare { pre: linker.instantiate_pre(&module).expect("known imports"), settings }
    }

    /// Runs it once, with a directory as its root where one is given. It must succeed.
    pub(crate) async fn run(&self, stage: &StageSpec, root: Option<&Path>) {
        let mut wasi = WasiCtxBuilder::new();
        // As the command does: a read of a file does not go to another thread.
        wasi.allow_blocking_current_thread(true);
        wasi.arg("main").args(&stage.args);
        let output = 1 << 20;
        wasi.stdout(MemoryOutputPipe::new(output)).stderr(MemoryOutputPipe::new(output));
        if let Some(root) = root {
            wasi.preopened_dir(root, "/", FsPerms::ReadWrite).expect("a directory");
        }
        let limiter = MemoryLimiter::new(stage.limits.memory_bytes);
        let host = Host { wasi: wasi.build_p1(), limiter };
        let mut store = Store::new(self.pre.module().engine(), host);
        store.limiter(|host| &mut host.limiter);
        if self.settings == Settings::Profile {
            store.set_fuel(stage.limits.fuel).expect("it counts fuel");
            store.fuel_async_yield_interval(Some(QUANTUM_FUEL)).expect("it counts fuel");
        }
        let instance = self.pre.instantiate_async(&mut store).await.expect("an instance");
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("a command");
        if let Err(error) = start.call_async(&mut store, ()).await {
            assert!(matches!(error.downcast_ref(), Some(I32Exit(0))), "{error:?}");
        }
    }
}
