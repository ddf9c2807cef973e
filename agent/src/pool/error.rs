//! Why an agent's pool does not fit its machine, and what can be done about it.

use std::fmt;

use weir_proto::units::short_bytes;

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// Memory.
    Memory,
    /// Mappings that the kernel allows a process.
    Mappings,
    /// Addresses of a process.
    AddressSpace,
    /// What the kernel lets all processes reserve.
    Commit,
    /// Files that this process may have open.
    Files,
}

/// An agent offers more than its machine has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutError {
    /// What there is too little of.
    pub scarce: Scarce,
    /// Sandboxes that there must be room for.
    pub sandboxes: u32,
    /// How much they and all else take: bytes, or a count.
    pub needed: u64,
    /// How much there is.
    pub there: u64,
}

impl std::error::Error for LayoutError {}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LayoutError { scarce, sandboxes, needed, there } = *self;
        let (needed_bytes, there_bytes) = (short_bytes(needed), short_bytes(there));
        match scarce {
            Scarce::Memory => write!(
                f,
                "what is offered to tasks and {sandboxes} sandboxes themselves take {needed_bytes} \
                 of memory, and there are {there_bytes}: offer less with --memory"
            ),
            Scarce::Mappings => write!(
                f,
                "{sandboxes} sandboxes take {needed} memory mappings, and the kernel allows \
                 {there}: set vm.max_map_count to {needed}, or offer fewer cores with --cores"
            ),
            Scarce::AddressSpace => write!(
                f,
                "{sandboxes} sandboxes take {needed_bytes} of address space, and this process may \
                 have {there_bytes}: raise `ulimit -v` if it is set, or offer fewer cores with \
                 --cores"
            ),
            Scarce::Commit => write!(
                f,
                "what is offered to tasks and {sandboxes} sandboxes reserve {needed_bytes}, and \
                 the kernel, which counts strictly, has {there_bytes} for all processes: set \
                 vm.overcommit_memory to 0, or offer less with --cores and --memory"
            ),
            Scarce::Files => write!(
                f,
                "{sandboxes} sandboxes may need {needed} open files, and this process may have \
                 {there}: raise `ulimit -Hn`, or offer fewer cores with --cores"
            ),
        }
    }
}
