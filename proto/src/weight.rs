//! The weight of a namespace: its share of the cluster beside those of the others.

use std::{fmt, str::FromStr};

use crate::{
    id::Namespace,
    malformed::{Malformed, required},
    wire,
};

/// The largest weight.
pub const MAX_WEIGHT: u32 = 1_000;

/// A share beside others: 1 to `MAX_WEIGHT`, 1 where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

/// A namespace as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its name.
    pub namespace: Namespace,
    /// Its share.
    pub weight: Weight,
    /// Its jobs that have not ended.
    pub active_jobs: u32,
    /// Their tasks without a result.
    pub open_tasks: u64,
    /// How many tasks may run for it now.
    pub slots: u32,
}

impl Weight {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Weight {
        Weight(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u32> for Weight {
    type Error = Malformed;

    fn try_from(weight: u32) -> Result<Weight, Malformed> {
        if (1..=MAX_WEIGHT).contains(&weight) {
            return Ok(Weight(weight));
        }
        Err(Malformed::invalid("a weight", format!("{weight} is not 1 to {MAX_WEIGHT}")))
    }
}

impl FromStr for Weight {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Weight, Malformed> {
        let wrong =
            |_| Malformed::invalid("a weight", format!("{text:?} is not 1 to {MAX_WEIGHT}"));
        Weight::try_from(text.parse::<u32>().map_err(wrong)?)
    }
}

/// A namespace's weight as the wire carries it.
pub fn weight_to_wire(namespace: &Namespace, weight: Weight) -> wire::NamespaceWeight {
    wire::NamespaceWeight { namespace: namespace.as_str().to_owned(), weight: weight.get() }
}

/// Reads a namespace's weight.
///
/// # Errors
/// When the name or the weight is none.
pub fn weight_from_wire(wire: wire::NamespaceWeight) -> Result<(Namespace, Weight), Malformed> {
    Ok((wire.namespace.parse()?, wire.weight.try_into()?))
}

impl From<NamespaceView> for wire::NamespaceView {
    fn from(view: NamespaceView) -> wire::NamespaceView {
        wire::NamespaceView {
            weight: Some(weight_to_wire(&view.namespace, view.weight)),
            active_jobs: view.active_jobs,
            open_tasks: view.open_tasks,
            slots: view.slots,
        }
    }
}

impl TryFrom<wire::NamespaceView> for NamespaceView {
    type Error = Malformed;

    fn try_from(wire: wire::NamespaceView) -> Result<NamespaceView, Malformed> {
        let (namespace, weight) = weight_from_wire(required(wire.weight, "a weight")?)?;
        let wire::NamespaceView { active_jobs, open_tasks, slots, .. } = wire;
        Ok(NamespaceView { namespace, weight, active_jobs, open_tasks, slots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_within_its_bounds() {
        for (text, weight) in [("1", Some(1)), ("1000", Some(1000)), ("0", None), ("1001", None)] {
            assert_eq!(text.parse::<Weight>().ok().map(Weight::get), weight);
        }
        for text in ["", "-1", "1.5", "99999999999"] {
            let error = text.parse::<Weight>().expect_err(text).to_string();
            assert!(error.contains("1 to 1000"), "{error}");
        }
    }
}
