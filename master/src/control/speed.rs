//! Agents that measured themselves again: what of it is worth an entry of the log.

use weir_proto::{agent::AgentDescription, command::Change, id::AgentId};

use super::{Control, Waiting};

/// From which difference on a new figure counts, in percent of the old one: two measurements of one
/// machine differ by less.
const NOTICEABLE_PERCENT: u64 = 5;

impl Control {
    /// An agent told what one of its cores burns in a second. A busy master lets it pass: the agent
    /// tells it again with its next hello or measurement.
    pub(super) fn calibrated(&mut self, agent: AgentId, fuel_per_second: u64, now_ms: u64) {
        let Some(known) = self.state.agents.get(&agent) else { return };
        if is_noticeable(known.description.fuel_per_second, fuel_per_second) {
            let change = Change::CalibrateAgent { agent, fuel_per_second };
            let _proposed = self.propose(change, Waiting::Nothing, now_ms);
        }
    }
}

fn is_noticeable(known: u64, measured: u64) -> bool {
    let difference = u128::from(known.abs_diff(measured));
    difference * 100 >= u128::from(known) * u128::from(NOTICEABLE_PERCENT) && known != measured
}

/// Whether two descriptions are of one life of one agent, however fast it was when it told each.
pub(super) fn is_same_but_for_speed(one: &AgentDescription, other: &AgentDescription) -> bool {
    let as_fast = AgentDescription { fuel_per_second: one.fuel_per_second, ..other.clone() };
    *one == as_fast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_differences_are_not_worth_an_entry() {
        for (known, measured, noticeable) in [
            (1_000, 1_000, false),
            (1_000, 1_049, false),
            (1_000, 951, false),
            (1_000, 1_050, true),
            (1_000, 950, true),
            (0, 0, false),
            (0, 1, true),
            (u64::MAX, u64::MAX - 1, false),
            (u64::MAX, 1, true),
        ] {
            assert_eq!(is_noticeable(known, measured), noticeable, "{known} and {measured}");
        }
    }
}
