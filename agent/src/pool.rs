//! How many sandboxes an agent holds, laid out from what it offers and what its machine has; what
//! does not fit is refused at start, not found out later.
//!
//! All of it is reserved at once, as address space: memory is only taken where guests touch it. The
//! arithmetic is told in `docs/agent.md`. The next stop is the `profile`, whose engine gets the pool.

mod error;

#[cfg(test)]
mod tests;

use wasmtime::{Enabled, PoolingAllocationConfig};
use weir_proto::limits::{MIN_CPU_MILLIS, Resources};

pub use self::error::{LayoutError, Scarce};
use crate::{
    machine::Machine,
    profile::{
        FIBER_STACK_BYTES, MAX_INSTANCES_PER_COMPONENT, MAX_MEMORIES_PER_MODULE, MAX_MEMORY_BYTES,
        MAX_TABLE_ELEMENTS, MAX_TABLES_PER_COMPONENT, MEMORY_GUARD_BYTES,
    },
};

/// Most sandboxes of one agent: as many as fit where Linux allows its usual 65,530 mappings.
pub const MAX_SANDBOXES: u32 = 10_000;

/// Most of them whose tasks are metered by epochs. Such tasks compute, so there are rarely more at once
/// than cores; more than these wait for one another.
pub const MAX_EPOCH_SANDBOXES: u32 = 1_000;

/// What a sandbox takes at most beside the guest's own pages, as long as the guest does not call
/// deeply: two to four pages of stack, page tables, and what the agent knows of it. Measured: 40 KiB.
pub const SANDBOX_BYTES: u64 = 100 << 10;

/// Mappings of a stack: itself, and the page below it that nobody may touch.
const STACK_MAPPINGS: u64 = 2;
/// Mappings of a memory: its data segments' image, zeros before and after it, and what it may grow
/// into. A memory without an image has two.
const MEMORY_MAPPINGS: u64 = 4;
/// Mappings of everything else: the program and its libraries, compiled modules (up to 256, some
/// five each), threads, the allocator.
const OTHER_MAPPINGS: u64 = 4_096;

/// Address space of a memory: as much as it can grow to, and a guard behind it.
const MEMORY_SPACE: u64 = MAX_MEMORY_BYTES + MEMORY_GUARD_BYTES;
/// Address space of a table.
const TABLE_SPACE: u64 = (MAX_TABLE_ELEMENTS * size_of::<usize>()) as u64;
/// Address space of everything else.
const OTHER_SPACE: u64 = 16 << 30;

/// Files of everything else: compiled modules (up to 256), the store, connections.
const OTHER_FILES: u64 = 768;

/// Most bytes of Wasmtime's own bookkeeping for one instance; it grows with functions and globals.
const MAX_INSTANCE_BYTES: usize = 8 << 20;

/// Tables for each memory.
const TABLES_PER_MEMORY: u32 = 2;

/// Memory that a slot of the pool keeps after use, cleared by hand, instead of giving it back to
/// the kernel: two system calls and a page fault per page cost more than clearing.
const MAX_KEPT_BYTES: u64 = 256 << 10;
/// All slots together keep at most this part of the machine's memory.
const KEPT_PART: u64 = 16;

/// How large the pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Attempts that are live at once, running or paused; each has a stack.
    pub sandboxes: u32,
    /// Linear memories, and heaps of the GC proposal, of all of them together.
    pub memories: u32,
    /// Tables of all of them together.
    pub tables: u32,
    /// Bytes that a memory or table which nobody uses keeps.
    pub kept_bytes: u64,
}

/// The pools of an agent: each profile has an engine of its own, and each engine its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pools {
    /// Of tasks that are metered by fuel.
    pub fuel: Layout,
    /// Of those metered by epochs, where there is room for it. No address is reserved for it before
    /// the first of them comes.
    pub epoch: Option<Layout>,
}

impl Pools {
    /// The pools of an agent that offers `resources` on a machine. By fuel, a sandbox for every task
    /// that can be leased to it at once, as many again for those that are paused, and twice as many
    /// memories; both less where the machine has no room for that. By epochs, a sandbox with a memory
    /// for every task that can be leased, up to `MAX_EPOCH_SANDBOXES`, and fewer where the machine has
    /// no room beside what can be leased by fuel.
    ///
    /// # Errors
    /// When there is no room for what can be leased by fuel; the error tells what there is too little
    /// of.
    pub fn new(resources: &Resources, machine: &Machine) -> Result<Pools, LayoutError> {
        let least = (resources.cpu_millis / MIN_CPU_MILLIS).clamp(1, MAX_SANDBOXES);
        let mut budgets = Budget::all(resources, machine);
        let mut by_epochs = least.min(MAX_EPOCH_SANDBOXES);
        for budget in &budgets {
            let Some(spare) = budget.most_sandboxes().checked_sub(u64::from(least)) else {
                return Err(budget.refusal(least));
            };
            by_epochs = by_epochs.min(u32::try_from(spare).unwrap_or(u32::MAX));
        }
        // No module can define more memories than the pool has.
        if by_epochs < MAX_MEMORIES_PER_MODULE {
            by_epochs = 0;
        }
        budgets.iter_mut().for_each(|budget| budget.take(by_epochs));
        let epoch = (by_epochs > 0).then(|| Layout::with(by_epochs, by_epochs));
        Ok(Pools { fuel: Layout::within(least, &budgets), epoch }.keeping(machine.memory_bytes))
    }

    /// Pools of so many sandboxes each, 1 to `MAX_SANDBOXES`, wherever they are.
    pub(crate) fn of(sandboxes: u32) -> Pools {
        let pool = Layout::of(sandboxes);
        Pools { fuel: pool, epoch: Some(pool) }
    }

    /// Together they keep no more than a part of the machine's memory.
    fn keeping(mut self, memory_bytes: Option<u64>) -> Pools {
        let pools = || [self.fuel].into_iter().chain(self.epoch);
        let slots: u64 =
            pools().map(|pool| u64::from(pool.memories) + u64::from(pool.tables)).sum();
        let part = memory_bytes.map_or(u64::MAX, |bytes| bytes / KEPT_PART / slots);
        self.fuel.kept_bytes = self.fuel.kept_bytes.min(part);
        if let Some(epoch) = &mut self.epoch {
            epoch.kept_bytes = epoch.kept_bytes.min(part);
        }
        self
    }
}

impl Layout {
    /// At least so many sandboxes, and up to twice as many, as the budgets allow.
    fn within(least: u32, budgets: &[Budget]) -> Layout {
        let mut sandboxes = least.saturating_mul(2).min(MAX_SANDBOXES);
        for budget in budgets {
            sandboxes = sandboxes.min(u32::try_from(budget.most_sandboxes()).unwrap_or(u32::MAX));
        }
        let mut memories = usual_memories(sandboxes);
        for budget in budgets {
            let most = u32::try_from(budget.most_memories(sandboxes)).unwrap_or(u32::MAX);
            memories = memories.min(most);
        }
        Layout::with(sandboxes, memories)
    }

    /// A pool of so many sandboxes, 1 to `MAX_SANDBOXES`, wherever it is.
    pub(crate) fn of(sandboxes: u32) -> Layout {
        let sandboxes = sandboxes.clamp(1, MAX_SANDBOXES);
        Layout::with(sandboxes, usual_memories(sandboxes).min(MAX_SANDBOXES))
    }

    fn with(sandboxes: u32, memories: u32) -> Layout {
        let tables = memories.saturating_mul(TABLES_PER_MEMORY).max(MAX_TABLES_PER_COMPONENT);
        Layout { sandboxes, memories, tables, kept_bytes: MAX_KEPT_BYTES }
    }

    /// The pool as Wasmtime makes it. What one module may be does not depend on the layout: an agent
    /// must not refuse a module that another one runs.
    pub(crate) fn allocation(&self) -> PoolingAllocationConfig {
        let kept_bytes = usize::try_from(self.kept_bytes).unwrap_or(usize::MAX);
        let mut pool = PoolingAllocationConfig::new();
        // Components have several core instances and tables each. An instance is a count and some
        // memory of its own size, so there is room for the most that all can have. What bounds
        // attempts is the number of stacks.
        pool.total_core_instances(self.sandboxes.saturating_mul(MAX_INSTANCES_PER_COMPONENT));
        pool.total_stacks(self.sandboxes);
        pool.total_memories(self.memories);
        pool.total_tables(self.tables);
        pool.total_gc_heaps(self.sandboxes);
        pool.total_component_instances(self.sandboxes);
        pool.max_core_instance_size(MAX_INSTANCE_BYTES);
        pool.max_component_instance_size(MAX_INSTANCE_BYTES);
        pool.max_memories_per_module(MAX_MEMORIES_PER_MODULE);
        pool.max_tables_per_module(MAX_MEMORIES_PER_MODULE);
        pool.max_core_instances_per_component(MAX_INSTANCES_PER_COMPONENT);
        // All memories of an attempt together, as those of one module.
        pool.max_memories_per_component(MAX_MEMORIES_PER_MODULE);
        pool.max_tables_per_component(MAX_TABLES_PER_COMPONENT);
        pool.max_memory_size(usize::try_from(MAX_MEMORY_BYTES).unwrap_or(usize::MAX));
        pool.table_elements(MAX_TABLE_ELEMENTS);
        pool.linear_memory_keep_resident(kept_bytes);
        pool.table_keep_resident(kept_bytes);
        pool.async_stack_keep_resident(0);
        pool.pagemap_scan(Enabled::Auto);
        pool
    }
}

/// Modules with several memories, or a GC heap, are the exception: twice as many memories as
/// sandboxes is room for some of them, and no module can define more than the pool has.
fn usual_memories(sandboxes: u32) -> u32 {
    sandboxes.saturating_mul(2).max(MAX_MEMORIES_PER_MODULE)
}

/// Something that a machine has a certain amount of, and what the pool takes of it.
struct Budget {
    scarce: Scarce,
    there: u64,
    /// For each stack.
    stack: u64,
    /// For each memory, with its tables.
    memory: u64,
    /// However large the pool is.
    rest: u64,
}

impl Budget {
    fn all(resources: &Resources, machine: &Machine) -> Vec<Budget> {
        let tables = u64::from(TABLES_PER_MEMORY) * TABLE_SPACE;
        let stack = FIBER_STACK_BYTES as u64;
        let offered = resources.memory_bytes;
        let budget = |scarce, there: Option<u64>, stack, memory, rest| {
            there.map(|there| Budget { scarce, there, stack, memory, rest })
        };
        let all = [
            budget(Scarce::Memory, machine.memory_bytes, SANDBOX_BYTES, 0, offered),
            budget(
                Scarce::Mappings,
                machine.mappings,
                STACK_MAPPINGS,
                MEMORY_MAPPINGS,
                OTHER_MAPPINGS,
            ),
            budget(
                Scarce::AddressSpace,
                machine.address_space_bytes,
                stack,
                MEMORY_SPACE + tables,
                OTHER_SPACE,
            ),
            // Address space that nothing may be written to is not counted.
            budget(Scarce::Commit, machine.commit_bytes, stack, tables, offered),
            // What a task writes may need a file.
            budget(Scarce::Files, machine.files, 1, 0, OTHER_FILES),
        ];
        all.into_iter().flatten().collect()
    }

    /// With a memory for each.
    fn most_sandboxes(&self) -> u64 {
        self.there.saturating_sub(self.rest) / (self.stack + self.memory)
    }

    fn most_memories(&self, sandboxes: u32) -> u64 {
        let taken = self.rest.saturating_add(self.stack * u64::from(sandboxes));
        self.there.saturating_sub(taken).checked_div(self.memory).unwrap_or(u64::MAX)
    }

    /// So many sandboxes, with a memory each, are another pool's.
    fn take(&mut self, sandboxes: u32) {
        self.rest = self.rest.saturating_add((self.stack + self.memory) * u64::from(sandboxes));
    }

    fn refusal(&self, sandboxes: u32) -> LayoutError {
        let needed = (self.stack + self.memory) * u64::from(sandboxes);
        LayoutError {
            scarce: self.scarce,
            sandboxes,
            needed: needed.saturating_add(self.rest),
            there: self.there,
        }
    }
}
