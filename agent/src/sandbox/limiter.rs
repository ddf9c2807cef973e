//! Counts all memories and tables of one attempt against its memory limit.
//!
//! Wasmtime's own `StoreLimits` bounds each memory, not their sum. A denied growth is no failure
//! yet: the guest sees -1. It is remembered, so that the trap which mostly follows is told as what
//! it is. Next: how an attempt's end is told, `ending`.

use wasmtime::ResourceLimiter;
use weir_proto::outcome::Exceeded;

use crate::profile::{
    MAX_INSTANCES_PER_COMPONENT, MAX_MEMORIES_PER_MODULE, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS,
    MAX_TABLES_PER_COMPONENT,
};

/// Bytes that one element of a table takes in Wasmtime.
const TABLE_ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// The memory of one attempt, in bytes.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    used: u64,
    peak: u64,
    denied: Option<Exceeded>,
}

impl MemoryLimiter {
    /// All together may take `limit` bytes.
    pub(crate) fn new(limit: u64) -> MemoryLimiter {
        MemoryLimiter { limit, used: 0, peak: 0, denied: None }
    }

    /// Most memory at any moment.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak
    }

    /// The last growth that was denied: what the total would have been, and the limit.
    pub(crate) fn denied(&self) -> Option<Exceeded> {
        self.denied
    }

    fn grow(&mut self, more: u64) -> bool {
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            return self.deny(wanted);
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        true
    }

    fn deny(&mut self, wanted: u64) -> bool {
        self.denied = Some(Exceeded { used: wanted, limit: self.limit });
        false
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let (desired, more) = (desired as u64, desired.saturating_sub(current) as u64);
        // Wasmtime asks us before it looks at the maximum that the guest itself declared, and
        // gives the most that can be addressed where it declared none.
        let maximum = maximum.map_or(MAX_MEMORY_BYTES, |maximum| maximum as u64);
        if desired > maximum && maximum < MAX_MEMORY_BYTES {
            return Ok(false);
        }
        if desired > MAX_MEMORY_BYTES {
            return Ok(self.deny(self.used.saturating_add(more)));
        }
        Ok(self.grow(more))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The guest's maximum, or what the profile has for each table, whether or not there is a pool.
        if desired > maximum.unwrap_or(MAX_TABLE_ELEMENTS).min(MAX_TABLE_ELEMENTS) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        Ok(self.grow(more.saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn memories(&self) -> usize {
        // One more for the heap of the GC proposal.
        MAX_MEMORIES_PER_MODULE as usize + 1
    }

    fn tables(&self) -> usize {
        MAX_TABLES_PER_COMPONENT as usize
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES_PER_COMPONENT as usize
    }
}
