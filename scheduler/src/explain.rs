//! Why tasks of a stage wait: typed reasons, for `weir job show`.

use std::fmt;

use weir_proto::{id::StageId, limits::Resources, metering::Metering};

use crate::{lease::LeaseTable, state::ClusterState};

/// Why a task waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// No agent has a session.
    NoAgent,
    /// Those that have one are about to leave.
    Draining,
    /// No attached agent meters as it asks.
    NotMetered {
        /// How it asks to be.
        metering: Metering,
    },
    /// No attached agent is large enough, however idle.
    TooLarge {
        /// What a task needs.
        needs: Resources,
    },
    /// Somebody paused it.
    Paused,
    /// Agents that could run it are busy.
    Busy,
    /// An earlier leader may have leased it; agents have not told yet.
    Uncertain,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::NoAgent => f.write_str("no agent is connected"),
            WaitReason::Draining => f.write_str("every agent is about to leave"),
            WaitReason::NotMetered { metering } => {
                write!(f, "no agent runs tasks with `metering = \"{metering}\"`")
            }
            WaitReason::TooLarge { needs } => {
                write!(f, "no agent is large enough: a task needs {needs}")
            }
            WaitReason::Paused => f.write_str("it is paused; `weir job resume` lets it go on"),
            WaitReason::Busy => f.write_str("every agent that could run it is busy"),
            WaitReason::Uncertain => {
                f.write_str("agents that may be running it have not reconnected yet")
            }
        }
    }
}

/// Why the waiting tasks of a stage wait; `None` when none do.
pub fn explain(state: &ClusterState, table: &LeaseTable, id: StageId) -> Option<WaitReason> {
    let (_, spec) = state.stage(id)?;
    let queue = table.stages().get(&id)?;
    if queue.waiting.is_empty() {
        return queue.is_uncertain().then_some(WaitReason::Uncertain);
    }
    if queue.is_paused() {
        return Some(WaitReason::Paused);
    }
    let connected = || table.agents().iter().filter(|(_, agent)| agent.connected);
    if connected().next().is_none() {
        return Some(WaitReason::NoAgent);
    }
    let staying = connected().filter(|(id, agent)| !agent.stops && !state.is_draining(**id));
    let mut staying = staying.map(|(_, agent)| &agent.description).peekable();
    if staying.peek().is_none() {
        return Some(WaitReason::Draining);
    }
    let mut agents = staying.filter(|agent| agent.profile_for(spec.metering).is_some()).peekable();
    if agents.peek().is_none() {
        return Some(WaitReason::NotMetered { metering: spec.metering });
    }
    if agents.all(|agent| agent.slots(spec) == 0) {
        return Some(WaitReason::TooLarge { needs: spec.resources.clone() });
    }
    Some(WaitReason::Busy)
}
