//! The variants that guests are run in, and how much of what they give must be the same.

use wasmtime::OptLevel;
use weir_agent::profile::{Allocation, Target, Variant};

use crate::{guests::Guest, record::Sees};

/// A variant with its name.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) variant: Variant,
}

/// As agents run guests.
const USUAL: Variant = Variant {
    target: Target::Native,
    optimised: OptLevel::Speed,
    allocation: Allocation::Pooled,
    images: true,
};

/// All of them; the first is what the others are compared with.
pub(crate) const ALL: &[Known] = &[
    Known { name: "as agents do", variant: USUAL },
    Known { name: "not optimised", variant: Variant { optimised: OptLevel::None, ..USUAL } },
    Known {
        name: "optimised for size",
        variant: Variant { optimised: OptLevel::SpeedAndSize, ..USUAL },
    },
    Known {
        name: "for the oldest processor",
        variant: Variant { target: Target::Baseline, ..USUAL },
    },
    Known { name: "interpreted", variant: Variant { target: Target::Pulley, ..USUAL } },
    Known {
        name: "without a pool",
        variant: Variant { allocation: Allocation::OnDemand, ..USUAL },
    },
    Known { name: "without images", variant: Variant { images: false, ..USUAL } },
    Known {
        name: "interpreted, not optimised, without a pool and images",
        variant: Variant {
            target: Target::Pulley,
            optimised: OptLevel::None,
            allocation: Allocation::OnDemand,
            images: false,
        },
    },
];

/// Modules that take minutes to compile are run as agents do, not optimised, and interpreted.
pub(crate) fn is_for_large(name: &str) -> bool {
    ["as agents do", "not optimised", "interpreted"].contains(&name)
}

/// How much of what a guest gives is the same in a variant: all, but for what decision 13 tells.
///
/// Without images a guest is billed for its data segments as well. `agent.rs` allows it so much more,
/// but its clock goes by all fuel.
pub(crate) fn comparable(variant: Variant, guest: &Guest) -> Sees {
    let clock = variant.images || !guest.sees_time;
    let bill = variant.images || guest.data_fuel.is_some();
    Sees { fuel: clock && bill, output: clock && !keeps_nans(variant, guest) }
}

/// Whether a guest sees that a processor has no fused multiply-add. All of AArch64 have it.
pub(crate) fn keeps_nans(variant: Variant, guest: &Guest) -> bool {
    let lacks_it = cfg!(target_arch = "x86_64") && variant.target == Target::Baseline;
    guest.fuses_nans && lacks_it
}
