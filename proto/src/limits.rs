//! What the sandbox enforces on an attempt, and what placement counts for a task.

use crate::{
    countable::Countables,
    malformed::{Malformed, required},
    units, wire,
};

/// Least cpu of a task, in thousandths of a core: an agent keeps room for as many live sandboxes.
pub const MIN_CPU_MILLIS: u32 = 10;

/// The limits of one attempt; each above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most fuel it may use: counted Wasm instructions and priced host calls.
    pub fuel: u64,
    /// Most memory in bytes, all linear memories and tables together.
    pub memory_bytes: u64,
    /// Longest wall time in milliseconds, time inside host calls included.
    pub timeout_ms: u64,
    /// Most bytes on stdout, on stderr and in `/out`, each.
    pub output_bytes: u64,
    /// Most bytes in `/tmp`.
    pub scratch_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 100_000_000_000,
            memory_bytes: 256 << 20,
            timeout_ms: 10 * 60 * 1000,
            output_bytes: 64 << 20,
            scratch_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Every limit with its name and value, for whoever checks or prints them.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("fuel", self.fuel),
            ("memory_bytes", self.memory_bytes),
            ("timeout_ms", self.timeout_ms),
            ("output_bytes", self.output_bytes),
            ("scratch_bytes", self.scratch_bytes),
        ]
    }

    fn from_wire(wire: wire::Limits) -> Limits {
        Limits {
            fuel: wire.fuel,
            memory_bytes: wire.memory_bytes,
            timeout_ms: wire.timeout_ms,
            output_bytes: wire.output_bytes,
            scratch_bytes: wire.scratch_bytes,
        }
    }

    /// Reads limits, adding every one that is 0 to `problems`.
    pub(crate) fn parse(
        wire: Option<wire::Limits>,
        problems: &mut Vec<String>,
    ) -> Result<Limits, Malformed> {
        let limits = Limits::from_wire(required(wire, "limits")?);
        for (name, value) in limits.named() {
            if value == 0 {
                problems.push(format!("limit {name} is 0; it must be above 0"));
            }
        }
        Ok(limits)
    }
}

impl From<Limits> for wire::Limits {
    fn from(limits: Limits) -> wire::Limits {
        wire::Limits {
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            timeout_ms: limits.timeout_ms,
            output_bytes: limits.output_bytes,
            scratch_bytes: limits.scratch_bytes,
        }
    }
}

/// What placement counts against an agent, for one running task or for all it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// What operators name and count.
    pub countables: Countables,
}

impl Resources {
    /// Processor and memory, and nothing that has a name.
    pub fn new(cpu_millis: u32, memory_bytes: u64) -> Resources {
        Resources { cpu_millis, memory_bytes, countables: Countables::new() }
    }

    /// How many tasks that need `each` fit in these resources.
    pub fn slots(&self, each: &Resources) -> u32 {
        let by_cpu = self.cpu_millis.checked_div(each.cpu_millis).unwrap_or(u32::MAX);
        let by_memory = self.memory_bytes.checked_div(each.memory_bytes).unwrap_or(u64::MAX);
        let by_memory = u32::try_from(by_memory).unwrap_or(u32::MAX);
        by_cpu.min(by_memory).min(self.countables.slots(&each.countables))
    }

    /// These resources `slots` times.
    pub fn times(&self, slots: u32) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.saturating_mul(slots),
            memory_bytes: self.memory_bytes.saturating_mul(u64::from(slots)),
            countables: self.countables.times(slots),
        }
    }

    /// What is left when `used` is taken away, each at least 0.
    pub fn without(&self, used: &Resources) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.saturating_sub(used.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(used.memory_bytes),
            countables: self.countables.without(&used.countables),
        }
    }

    /// Both together.
    pub fn plus(&self, more: &Resources) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.saturating_add(more.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(more.memory_bytes),
            countables: self.countables.plus(&more.countables),
        }
    }

    /// The larger of each.
    pub fn most(&self, other: &Resources) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            countables: self.countables.most(&other.countables),
        }
    }

    /// Whether `part` fits into these.
    pub fn covers(&self, part: &Resources) -> bool {
        part.cpu_millis <= self.cpu_millis
            && part.memory_bytes <= self.memory_bytes
            && self.countables.covers(&part.countables)
    }

    /// Reads resources of a task, adding what cannot be to `problems`.
    pub(crate) fn parse(
        wire: Option<wire::Resources>,
        problems: &mut Vec<String>,
    ) -> Result<Resources, Malformed> {
        let wire = required(wire, "resources")?;
        if wire.cpu_millis < MIN_CPU_MILLIS {
            let cpu = wire.cpu_millis;
            problems.push(format!(
                "resource cpu_millis is {cpu}; it must be at least {MIN_CPU_MILLIS}"
            ));
        }
        let countables = Countables::try_from(wire.countables).unwrap_or_else(|malformed| {
            problems.push(format!("resources: {malformed}"));
            Countables::new()
        });
        Ok(Resources { cpu_millis: wire.cpu_millis, memory_bytes: wire.memory_bytes, countables })
    }
}

impl std::fmt::Display for Resources {
    /// `2 cores and 64.0 MiB`, or with what has a name `2 cores, 64.0 MiB and gpu=1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cores = f64::from(self.cpu_millis) / 1000.0;
        let noun = if self.cpu_millis == 1000 { "core" } else { "cores" };
        let memory = units::short_bytes(self.memory_bytes);
        if self.countables.is_empty() {
            return write!(f, "{cores} {noun} and {memory}");
        }
        write!(f, "{cores} {noun}, {memory} and {}", self.countables)
    }
}

impl From<Resources> for wire::Resources {
    fn from(resources: Resources) -> wire::Resources {
        wire::Resources {
            cpu_millis: resources.cpu_millis,
            memory_bytes: resources.memory_bytes,
            countables: resources.countables.to_wire(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_by_the_scarcest_resource() {
        let has = Resources::new(4000, 100);
        assert_eq!(has.slots(&Resources::new(1000, 10)), 4);
        assert_eq!(has.slots(&Resources::new(100, 30)), 3);
        assert_eq!(has.slots(&Resources::new(5000, 1)), 0);
        let with = |gpus| Resources {
            countables: [("gpu", gpus)].into_iter().collect(),
            ..Resources::new(1000, 10)
        };
        assert_eq!(has.slots(&with(1)), 0);
        let machine = Resources { countables: with(5).countables, ..Resources::new(9000, 900) };
        assert_eq!(machine.slots(&with(2)), 2);
    }

    #[test]
    fn resources_are_printed_with_what_has_a_name() {
        let mut resources = Resources::new(1000, 1 << 20);
        assert_eq!(resources.to_string(), "1 core and 1.00 MiB");
        resources.countables = [("gpu", 2), ("fpga", 1)].into_iter().collect();
        assert_eq!(resources.to_string(), "1 core, 1.00 MiB and fpga=1 gpu=2");
    }
}
