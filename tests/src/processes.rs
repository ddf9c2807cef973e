//! What Linux tells about processes that nobody here has a handle to.

use std::{fs, path::Path};

/// The processes that this one started and did not wait for yet: dead ones are among them.
///
/// # Panics
/// Where there is no `/proc`.
pub fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
        entry.expect("an entry").file_name().to_str().and_then(|name| name.parse().ok())
    });
    processes.filter(|process| parent_of(*process) == Some(parent)).collect()
}

/// The fourth word of its status, behind a name that may hold anything.
fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether there is such a process, dead ones that nobody waited for included.
pub fn is_running(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// How many threads it has; none once it is gone.
pub fn threads_of(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count)
}

/// Processor time it has used, in ticks of a hundredth of a second; 0 once it is gone.
pub fn processor_ticks_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let words = status.rsplit_once(')').map_or("", |(_, words)| words).split_whitespace();
    words.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}
