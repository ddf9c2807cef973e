//! A core dump of a guest that trapped: its memories, globals and call stack, in the format of the
//! WebAssembly tool conventions, for debuggers that nobody has to run beside the agent.

use wasmtime::{HeapType, Store, ValType, WasmCoreDump};

use super::Guest;

/// Most bytes of memories that a core dump is made of: it is copied to the agent's own memory, twice
/// while it is made, which no limit of the task counts.
const MAX_COREDUMP_MEMORY_BYTES: u64 = 256 << 20;

/// What Wasmtime caught of a trap, as a file. There is none of a guest that merely exited, of one
/// with too much memory, and of one with globals that the format does not know.
pub(super) fn take(
    error: &wasmtime::Error,
    store: &mut Store<Guest>,
    name: &str,
) -> Option<Vec<u8>> {
    let trapped = error.is::<wasmtime::Trap>() || error.is::<wasmtime::ThrownException>();
    let dump: &WasmCoreDump = error.downcast_ref().filter(|_| trapped)?;
    let memories = dump.memories().iter().map(|memory| memory.data_size(&*store) as u64);
    let fits = memories.sum::<u64>() <= MAX_COREDUMP_MEMORY_BYTES;
    // Wasmtime panics at references to exceptions and continuations.
    let known = dump.globals().iter().all(|global| match global.ty(&*store).content() {
        ValType::Ref(reference) => {
            matches!(reference.heap_type().top(), HeapType::Extern | HeapType::Func | HeapType::Any)
        }
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => true,
    });
    (fits && known).then(|| dump.serialize(store, name))
}
