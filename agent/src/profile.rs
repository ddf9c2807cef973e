//! The profile `weir-1`: the pinned engine configuration under which fuel and results are defined; and
//! `weir-1-epoch`, the same but that time is counted and not instructions.
//!
//! Every setting that could change what a guest computes or what it costs is written out here with
//! its reason, whatever Wasmtime's default is today. How large the pool is depends on the machine:
//! `pool` lays it out. The next stop is the sandbox that runs attempts under it, `sandbox`.

mod variant;

use std::{
    fmt::Write as _,
    hash::{Hash, Hasher},
    num::NonZeroUsize,
    sync::LazyLock,
    time::Duration,
};

use wasmtime::{
    Collector, Config, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, Strategy,
    WasmBacktraceDetails,
};
use weir_proto::{digest::Digest, metering::Metering};

pub use self::variant::{Allocation, Target, Variant};
use crate::pool::Layout;

/// The name of the profile of tasks that are metered by fuel, as leases and agents carry it.
pub const PROFILE: &str = "weir-1";

/// The name of that of tasks that are metered by epochs.
pub const EPOCH_PROFILE: &str = "weir-1-epoch";

/// The name of the profile of tasks that are metered so.
pub fn name(metering: Metering) -> &'static str {
    match metering {
        Metering::Fuel => PROFILE,
        Metering::Epoch => EPOCH_PROFILE,
    }
}

/// Fuel between two yields of a guest: some 0.1 ms. Every 10 k doubles the time; 1 M costs nothing
/// measurable.
pub const QUANTUM_FUEL: u64 = 1_000_000;

/// Time between two epochs, and so between two yields of a guest that is metered by them: five to ten
/// of fuel's quanta. A thread wakes for each, so shorter ones would cost others more.
pub const EPOCH: Duration = Duration::from_millis(1);

/// When a pure task's clock begins, in nanoseconds since 1970: 2020-01-01T00:00:00Z. Every input and
/// every file it makes is from then.
pub const CLOCK_ORIGIN_NS: u64 = 1_577_836_800_000_000_000;

/// How fast a pure task's clock runs: about what a processor of today computes.
pub const FUEL_PER_NANOSECOND: u64 = 4;

/// What guests are told of their clocks' resolution.
pub const CLOCK_RESOLUTION_NS: u64 = 1;

/// What host calls cost, in fuel: about as much as plain code that takes as long, so that no guest
/// buys wall time cheaply. Unpriced, one that only draws random numbers would hold its worker for
/// seconds between two yields. A test measures them.
pub mod price {
    /// Any call.
    pub const CALL: u64 = 300;
    /// What a component's call costs beside that: its arguments and results are lifted and lowered.
    pub const COMPONENT_CALL: u64 = 1_000;
    /// A call that reads or writes: it may enter the kernel.
    pub const FILE_CALL: u64 = 800;
    /// A call with a path.
    pub const PATH_CALL: u64 = 1_500;
    /// Each byte of a path.
    pub const PATH_BYTE: u64 = 10;
    /// Each step from one file or directory to the next: links make long ways of short paths.
    pub const STEP: u64 = 300;
    /// Each buffer of a read or write.
    pub const BUFFER: u64 = 50;
    /// Each entry of a directory that is listed.
    pub const ENTRY: u64 = 200;
    /// Each subscription of a poll.
    pub const SUBSCRIPTION: u64 = 200;

    /// A call on a socket: it enters the kernel, for 1 to 2 us on the machine that this was measured
    /// on, where 1 us is some 5,000 fuel of plain code.
    pub const SOCKET_CALL: u64 = 3_000;
    /// Making a socket and closing it, or giving it an address of its own: 8 us.
    pub const SOCKET: u64 = 20_000;
    /// Making a connection, besides: with a wait and its end 95 us.
    pub const CONNECT: u64 = 100_000;
    /// Each datagram: 8 us to send, up to 30 us to receive, which a task of the library's does.
    pub const DATAGRAM: u64 = 40_000;
    /// A lookup of a name: a thread asks the system. One that is in a file takes 65 us with the wait.
    pub const LOOKUP: u64 = 100_000;
    /// A request of HTTP: its connection and all that is made for it, 180 us; then there is TLS.
    pub const REQUEST: u64 = 1_000_000;
    /// Waiting for the network or the machine's clock: another thread notices that it is over and
    /// wakes the one that the guest runs in. That takes 20 to 60 us while others run, and 100 us where
    /// the cores have gone to sleep.
    pub const WAIT: u64 = 200_000;

    /// All of them by name.
    pub(super) const ALL: [(&str, u64); 16] = [
        ("a call", CALL),
        ("a component's call, beside that", COMPONENT_CALL),
        ("a call that reads or writes", FILE_CALL),
        ("a call with a path", PATH_CALL),
        ("a byte of a path", PATH_BYTE),
        ("a step on a path", STEP),
        ("a buffer", BUFFER),
        ("an entry of a directory", ENTRY),
        ("a subscription", SUBSCRIPTION),
        ("a call on a socket", SOCKET_CALL),
        ("a socket", SOCKET),
        ("a connection", CONNECT),
        ("a datagram", DATAGRAM),
        ("a lookup of a name", LOOKUP),
        ("a request of HTTP", REQUEST),
        ("a wait", WAIT),
    ];

    /// Bytes that go into or out of the guest: between what they take from memory and what they
    /// take on their way to the disk.
    pub fn copied(bytes: usize) -> u64 {
        bytes as u64 / 2
    }

    /// Bytes that come or go over a connection, 64 KiB in 30 to 50 us: they are copied some more times.
    pub fn transferred(bytes: usize) -> u64 {
        2 * bytes as u64
    }

    /// Random bytes.
    pub fn random(bytes: usize) -> u64 {
        2 * bytes as u64
    }
}

/// Most memories, and most tables, that one module may define.
pub const MAX_MEMORIES_PER_MODULE: u32 = 8;

/// Most core instances of one component. One that was adapted from preview 1 has four; one that holds
/// an interpreter has one for each of its libraries.
pub const MAX_INSTANCES_PER_COMPONENT: u32 = 200;

/// Most tables of one component: its modules have one each, and so has what calls out of them.
pub const MAX_TABLES_PER_COMPONENT: u32 = 16;

/// Most call frames that a trap reports.
pub const MAX_TRAP_FRAMES: usize = 16;

/// Address space of each memory in bytes: with 4 GiB reserved, 32-bit ones need no bounds checks.
/// So this is also the most that one memory can hold, 64-bit ones included.
pub const MAX_MEMORY_BYTES: u64 = 4 << 30;

/// Address space behind each memory that nobody may touch: accesses with a constant offset need no
/// check of their own.
pub const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// Largest image of data segments that may be mostly empty. A module whose segments lie further apart
/// has none, and is billed for their bytes.
const MAX_SPARSE_IMAGE_BYTES: u64 = 16 << 20;

/// Most elements of one table; the largest known compilers' output has tens of thousands.
pub const MAX_TABLE_ELEMENTS: usize = 1 << 17;

/// Deepest native stack of a guest. Overflow depends on the host, so it is never memoised.
const WASM_STACK_BYTES: usize = 1 << 20;

/// A guest's whole fiber stack: its own part and what host calls need on top.
pub const FIBER_STACK_BYTES: usize = 2 << 20;

/// Makes an engine of a profile with a pool: all that agents may differ in, so that what a module
/// may be does not depend on where it runs.
///
/// # Errors
/// Whatever Wasmtime says when the host cannot do it, such as too little address space.
pub fn engine(metering: Metering, pool: Layout) -> wasmtime::Result<Engine> {
    engine_of(metering, Variant::default(), pool)
}

/// Makes an engine that runs guests in another way than agents do, with the same results.
///
/// # Errors
/// As of `engine`, and when Wasmtime cannot compile for what the variant asks for.
pub fn engine_of(metering: Metering, variant: Variant, pool: Layout) -> wasmtime::Result<Engine> {
    variant.engine(metering, pool)
}

/// Makes an engine that compiles for every engine of a profile and has no pool: it never runs
/// anything, and a process with little address space can make it.
///
/// # Errors
/// Whatever Wasmtime says when this machine's processor is not known to it.
pub fn compiling_engine(metering: Metering) -> wasmtime::Result<Engine> {
    let mut config = config(metering);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

/// Makes an engine as agents do, but for one thing: it counts no fuel. What that costs is measured.
///
/// # Errors
/// As of `engine`.
#[cfg(test)]
pub(crate) fn unmetered_engine(pool: Layout) -> wasmtime::Result<Engine> {
    let mut config = config(Metering::Fuel);
    config.consume_fuel(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool.allocation()));
    Engine::new(&config)
}

/// All that compiled code depends on.
fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    code(&mut config, metering);
    features(&mut config);
    memory(&mut config);
    config
}

/// How code is made and stopped.
fn code(config: &mut Config, metering: Metering) {
    // Winch counts fuel differently.
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    // A NaN's bits would tell processors apart.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    // By the yields of either every guest can be stopped. Fuel is the currency of CPU; epochs on top
    // of it cost another 12 % in a tight loop and give nothing.
    config.consume_fuel(metering == Metering::Fuel);
    config.operator_cost(operator_cost());
    config.epoch_interruption(metering == Metering::Epoch);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.async_stack_size(FIBER_STACK_BYTES);
    // A stack is never read before it is written; zeroing it would cost a system call per task.
    config.async_stack_zeroing(false);
    // A trap names the guest's functions; without line tables, which cost memory per module.
    config.generate_address_map(true);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(MAX_TRAP_FRAMES));
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // For native profilers and debuggers that walk through guest frames; Wasmtime's own traces
    // do without, but `perf` on a slow agent does not.
    config.native_unwind_info(true);
    config.debug_info(false);
    // What is caught is written down only for tasks that ask for it; until then it costs next to
    // nothing.
    config.coredump_on_trap(true);
    config.parallel_compilation(true);
}

/// What instructions cost: 1, but for those that cost nothing, and exceptions. To throw one is to walk
/// the stack: 200 ns, 40 more for each frame, and 4 for each clause of its `try_table`s. A `throw` costs
/// the most that Wasmtime can count for an instruction, some 40 ns. Frames are not paid for, so a quantum
/// of nothing but throwing through many takes some 10 ms; clauses are, by their `try_table`.
fn operator_cost() -> OperatorCost {
    OperatorCost { Throw: u8::MAX, ThrowRef: u8::MAX, TryTable: 20, ..OperatorCost::new() }
}

/// The proposals: those that are finished and Wasmtime calls stable, each by name.
fn features(config: &mut Config) {
    config.wasm_bulk_memory(true);
    config.wasm_exceptions(true);
    config.wasm_extended_const(true);
    config.wasm_function_references(true);
    config.wasm_gc(true);
    config.wasm_memory64(true);
    config.wasm_multi_memory(true);
    config.wasm_multi_value(true);
    config.wasm_reference_types(true);
    config.wasm_relaxed_simd(true);
    config.wasm_simd(true);
    config.wasm_tail_call(true);
    // Threads would make results depend on timing; support for them is not even compiled in, nor
    // is that for asynchronous components.
    config.shared_memory(false);
    config.concurrency_support(false);
    // Not finished.
    config.wasm_branch_hinting(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_stack_switching(false);
    config.wasm_wide_arithmetic(false);
    // Counts references: what it collects, and when, depends on the program alone.
    config.collector(Collector::DeferredReferenceCounting);
}

/// How linear memories lie. Heaps of the GC proposal live in the same pool, with the same layout.
fn memory(config: &mut Config) {
    config.memory_reservation(MAX_MEMORY_BYTES);
    config.memory_reservation_for_growth(0);
    config.memory_guard_size(MEMORY_GUARD_BYTES);
    config.memory_may_move(false);
    config.guard_before_linear_memory(true);
    config.signals_based_traps(true);
    config.table_lazy_init(true);
    // Data segments become a copy-on-write image: instantiation is then free, in time and in fuel.
    config.memory_init_cow(true);
    config.memory_guaranteed_dense_image_size(MAX_SPARSE_IMAGE_BYTES);
}

/// Everything that defines what a guest computes and what it costs, as text: the engine's settings,
/// as Wasmtime itself lists them, and what is ours. The same on every machine.
pub fn definition(metering: Metering) -> String {
    let mut text = format!("{}\n", name(metering));
    match metering {
        Metering::Fuel => {
            let _ = writeln!(text, "quantum {QUANTUM_FUEL} fuel");
            clocks(&mut text);
            prices(&mut text);
        }
        // What host calls cost is the time that they take.
        Metering::Epoch => {
            let _ = writeln!(text, "epochs of {} ns", EPOCH.as_nanos());
            clocks(&mut text);
        }
    }
    let _ = writeln!(text, "a table has at most {MAX_TABLE_ELEMENTS} elements");
    // Wasmtime does not list it.
    let _ = writeln!(text, "an image may be mostly empty up to {MAX_SPARSE_IMAGE_BYTES} bytes");
    // Sorted, for some of Wasmtime's settings are in a map that has no order.
    let settings = format!("{:#?}", config(metering));
    let mut settings: Vec<&str> = settings.lines().map(str::trim).collect();
    settings.sort_unstable();
    settings.retain(|line| line.contains(char::is_alphanumeric));
    text + &settings.join("\n") + "\n"
}

fn clocks(text: &mut String) {
    let _ = writeln!(text, "clock from {CLOCK_ORIGIN_NS} ns, {FUEL_PER_NANOSECOND} fuel a ns");
    let _ = writeln!(text, "clock resolution {CLOCK_RESOLUTION_NS} ns");
}

fn prices(text: &mut String) {
    for (name, fuel) in price::ALL {
        let _ = writeln!(text, "{name} costs {fuel} fuel");
    }
    let _ = writeln!(text, "{} copied bytes cost {} fuel", 1000, price::copied(1000));
    let _ = writeln!(text, "{} transferred bytes cost {} fuel", 1000, price::transferred(1000));
    let _ = writeln!(text, "{} random bytes cost {} fuel", 1000, price::random(1000));
}

/// The digest of the definition: part of program keys, and of compiled modules' names.
pub fn digest(metering: Metering) -> Digest {
    static FUEL: LazyLock<Digest> =
        LazyLock::new(|| Digest::of(definition(Metering::Fuel).as_bytes()));
    static EPOCH: LazyLock<Digest> =
        LazyLock::new(|| Digest::of(definition(Metering::Epoch).as_bytes()));
    match metering {
        Metering::Fuel => *FUEL,
        Metering::Epoch => *EPOCH,
    }
}

/// A name for everything that compiled code depends on: Wasmtime's version, the processor's
/// features and the profile. Compiled modules are kept under it, so a file made by another build
/// or for another profile is never loaded.
pub fn fingerprint(metering: Metering, engine: &Engine) -> String {
    let mut hasher = DigestHasher(blake3::Hasher::new());
    (digest(metering).0, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let hash = hasher.0.finalize();
    hash.as_bytes()[..8].iter().fold(format!("{}-", name(metering)), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Carries `std::hash` into BLAKE3: the standard hasher is not the same from one Rust to the next.
struct DigestHasher(blake3::Hasher);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        self.0.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Module;

    use super::*;

    fn small_engine() -> Engine {
        engine(Metering::Fuel, Layout::of(2)).expect("an engine")
    }

    #[test]
    fn the_profiles_are_the_ones_that_keys_were_made_with() {
        for (metering, path) in
            [(Metering::Fuel, "src/profile.golden"), (Metering::Epoch, "src/profile/epoch.golden")]
        {
            let definition = definition(metering);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(path, &definition).expect("written");
            }
            let golden = std::fs::read_to_string(path).expect("a file");
            assert_eq!(
                definition, golden,
                "a change here is another profile: what was memoised under this one must not be \
                 found. Run with UPDATE=1 as long as nothing is released"
            );
        }
    }

    #[test]
    fn profiles_differ_in_how_they_meter_and_in_nothing_else_that_a_guest_notices() {
        let lines =
            |metering| -> Vec<String> { definition(metering).lines().map(str::to_owned).collect() };
        let (fuel, epoch) = (lines(Metering::Fuel), lines(Metering::Epoch));
        let only_epoch: Vec<&String> = epoch.iter().filter(|line| !fuel.contains(line)).collect();
        assert_eq!(only_epoch.len(), 4, "its name, its quantum, and two settings: {only_epoch:?}");
        assert_ne!(digest(Metering::Fuel), digest(Metering::Epoch));
    }

    #[test]
    fn the_fingerprint_is_the_same_for_equal_engines_of_any_size() {
        for (metering, prefix) in [(Metering::Fuel, "weir-1-"), (Metering::Epoch, "weir-1-epoch-")]
        {
            let of = |sandboxes| {
                let engine = engine(metering, Layout::of(sandboxes)).expect("an engine");
                fingerprint(metering, &engine)
            };
            assert_eq!(of(2), of(9));
            let hash = of(2).strip_prefix(prefix).map(str::len);
            assert_eq!(hash, Some(16));
        }
    }

    #[test]
    fn what_the_compiling_engine_makes_the_running_one_loads() {
        let text = "(module (memory 1) (data (i32.const 0) \"x\") (table 1 funcref)
            (type (struct (field i32)))
            (func (export \"_start\") (drop (struct.new_default 0)) (memory.fill
                (i32.const 0) (i32.const 0) (i32.const 0))))";
        let bytes = wat::parse_str(text).unwrap();
        for metering in Metering::ALL {
            let compiling = compiling_engine(metering).expect("an engine");
            let running = engine(metering, Layout::of(2)).expect("an engine");
            let compiled = compiling.precompile_module(&bytes).unwrap();
            assert_eq!(fingerprint(metering, &compiling), fingerprint(metering, &running));
            // SAFETY: the bytes come from `precompile_module` some lines above.
            let module = unsafe { Module::deserialize(&running, &compiled) }.expect("it loads");
            let mut store = wasmtime::Store::new(&running, ());
            match metering {
                Metering::Fuel => store.set_fuel(1_000_000).unwrap(),
                Metering::Epoch => store.set_epoch_deadline(1),
            }
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
            start.call(&mut store, ()).expect("it runs");
        }
    }

    #[test]
    fn finished_proposals_work_in_the_pool() {
        let engine = small_engine();
        for text in [
            "(module (memory i64 1) (memory 1))",
            "(module (tag (param i32)) (func (throw 0 (i32.const 1))))",
            "(module (type (struct (field i32))) (func (drop (struct.new_default 0))))",
            "(module (func $f (return_call $f)))",
            "(module (func (drop (f32x4.relaxed_madd (v128.const i64x2 0 0)
                (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))",
        ] {
            Module::new(&engine, wat::parse_str(text).unwrap()).expect(text);
        }
    }

    #[test]
    fn threads_and_unfinished_proposals_are_refused() {
        let engine = small_engine();
        for text in [
            "(module (memory 1 1 shared))",
            "(module (memory 1 (pagesize 1)))",
            "(module (func (param i64 i64) (drop (drop
                (i64.mul_wide_s (local.get 0) (local.get 1))))))",
        ] {
            let bytes = wat::parse_str(text).unwrap();
            assert!(Module::new(&engine, bytes).is_err(), "{text}");
        }
    }
}
