//! What this process holds, as the kernel tells.

use std::fs;

/// Memory, mappings and addresses of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holds {
    /// Mappings, of which the kernel allows so many.
    pub(crate) mappings: u64,
    /// Memory that is nobody else's.
    pub(crate) memory_bytes: u64,
    /// The kernel's tables of where that memory is.
    pub(crate) page_table_bytes: u64,
    /// Addresses, whether or not there is memory behind them.
    pub(crate) address_space_bytes: u64,
}

impl Holds {
    pub(crate) fn now() -> Holds {
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
        Holds {
            mappings: maps.lines().count() as u64,
            memory_bytes: field("/proc/self/smaps_rollup", "Anonymous:"),
            page_table_bytes: field("/proc/self/status", "VmPTE:"),
            address_space_bytes: field("/proc/self/status", "VmSize:"),
        }
    }

    /// What came since, for each of so many.
    pub(crate) fn since(self, before: Holds, count: u32) -> Holds {
        let each = |now: u64, before: u64| now.saturating_sub(before) / u64::from(count);
        Holds {
            mappings: each(self.mappings, before.mappings),
            memory_bytes: each(self.memory_bytes, before.memory_bytes),
            page_table_bytes: each(self.page_table_bytes, before.page_table_bytes),
            address_space_bytes: each(self.address_space_bytes, before.address_space_bytes),
        }
    }
}

/// A figure that the kernel gives in KiB, in bytes.
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
    let kib = line.split_whitespace().next().expect("a figure");
    kib.parse::<u64>().expect("a number") << 10
}

/// Processor time that this process has used, in hundredths of a second.
pub(crate) fn processor_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}
