//! What agents of one profile may differ in without a task noticing: how code is made, and where
//! instances lie. Agents run the default; `tests/determinism.rs` runs all others beside it.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel};
use weir_proto::metering::Metering;

use super::config;
use crate::pool::Layout;

/// One way to run guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// What guests are compiled to.
    pub target: Target,
    /// How hard Cranelift tries.
    pub optimised: OptLevel,
    /// Where instances lie.
    pub allocation: Allocation,
    /// Whether data segments become images that memories begin as. Without them Wasmtime bills a
    /// fuel for each of their bytes, so the profile pins this: see decision 13.
    pub images: bool,
}

/// What guests are compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Code for this very processor.
    Native,
    /// Code for the oldest processor of this architecture.
    Baseline,
    /// Code for Pulley, Wasmtime's interpreter: the same on every architecture.
    Pulley,
}

/// Where instances lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// In slots that are reserved at start and used again.
    Pooled,
    /// Where the system has room, each anew.
    OnDemand,
}

impl Default for Variant {
    fn default() -> Variant {
        Variant {
            target: Target::Native,
            optimised: OptLevel::Speed,
            allocation: Allocation::Pooled,
            images: true,
        }
    }
}

impl Variant {
    /// Makes an engine of this kind; not all of them use the pool.
    pub(super) fn engine(self, metering: Metering, pool: Layout) -> wasmtime::Result<Engine> {
        let mut config = config(metering);
        self.compile_for(&mut config)?;
        config.cranelift_opt_level(self.optimised);
        config.memory_init_cow(self.images);
        config.allocation_strategy(match self.allocation {
            Allocation::Pooled => InstanceAllocationStrategy::Pooling(pool.allocation()),
            Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
        });
        Engine::new(&config)
    }

    fn compile_for(self, config: &mut Config) -> wasmtime::Result<()> {
        match self.target {
            Target::Native => {}
            // A target that is named has none of the features that this processor happens to have.
            Target::Baseline => {
                config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
            }
            Target::Pulley => {
                config.target(if cfg!(target_endian = "big") {
                    "pulley64be"
                } else {
                    "pulley64"
                })?;
            }
        }
        Ok(())
    }
}
