//! When the machine's speed is measured again: seldom, and only while it has nothing to do.

use std::collections::BTreeSet;

use weir_proto::agent::AgentMessage;

use super::{Action, Session, stay::Stay};
use crate::modules::ModuleKey;

/// How often an agent measures its machine again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recalibration {
    /// For so long it must have had nothing to do, in milliseconds: a core that was busy a moment ago is
    /// hot, and the next lease may be on its way.
    pub idle_ms: u64,
    /// And so long ago it must have been measured, in milliseconds.
    pub every_ms: u64,
}

/// What is known of the machine's speed, besides the figure.
#[derive(Debug)]
pub(super) struct Speed {
    often: Recalibration,
    measuring: Measuring,
    /// Since when there has been nothing to do.
    idle_since_ms: Option<u64>,
    measured_ms: Option<u64>,
    /// Modules that are compiled ahead of tasks: that takes cores too.
    compiling: BTreeSet<ModuleKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measuring {
    No,
    Running,
    /// It runs, and what comes of it does not count.
    GivenUp,
}

impl Default for Recalibration {
    fn default() -> Recalibration {
        Recalibration { idle_ms: 30_000, every_ms: 600_000 }
    }
}

impl Speed {
    pub(super) fn new(often: Recalibration) -> Speed {
        let (idle_since_ms, measured_ms) = (None, None);
        let compiling = BTreeSet::new();
        Speed { often, measuring: Measuring::No, idle_since_ms, measured_ms, compiling }
    }

    pub(super) fn compiles(&mut self, module: ModuleKey) {
        self.compiling.insert(module);
    }

    pub(super) fn compiled(&mut self, module: ModuleKey) {
        self.compiling.remove(&module);
    }

    /// When to measure, if nothing comes in between.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let idle_since_ms = self.idle_since_ms.filter(|_| self.measuring == Measuring::No)?;
        let since_measured_ms = self.measured_ms? + self.often.every_ms;
        Some((idle_since_ms + self.often.idle_ms).max(since_measured_ms))
    }
}

impl Session {
    /// Measures when that is due, and leaves the core to whatever is to be done.
    pub(super) fn keep_calibrated(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let is_idle =
            self.stay == Stay::Working && self.leases.is_empty() && self.speed.compiling.is_empty();
        let speed = &mut self.speed;
        // It was measured just before the session began.
        speed.measured_ms.get_or_insert(now_ms);
        if !is_idle {
            speed.idle_since_ms = None;
            if speed.measuring == Measuring::Running {
                speed.measuring = Measuring::GivenUp;
                actions.push(Action::StopCalibrating);
            }
            return;
        }
        speed.idle_since_ms.get_or_insert(now_ms);
        if speed.due_ms().is_some_and(|due_ms| now_ms >= due_ms) {
            speed.measuring = Measuring::Running;
            actions.push(Action::Calibrate);
        }
    }

    /// A measurement is over. A figure that was given up may be of a core that already ran a task.
    pub(super) fn calibrated(
        &mut self,
        figure: Option<u64>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let was = std::mem::replace(&mut self.speed.measuring, Measuring::No);
        if was != Measuring::Running {
            return;
        }
        self.speed.measured_ms = Some(now_ms);
        let Some(fuel_per_second) = figure else { return };
        // A leader that does not hear it now reads it in the next hello.
        self.agent.fuel_per_second = fuel_per_second;
        if self.is_up() {
            actions.push(Action::Send(AgentMessage::Calibrated { fuel_per_second }));
        }
    }
}
