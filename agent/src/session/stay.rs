//! Whether an agent goes on: it drains, it is told to stop, it says goodbye.

use weir_proto::{agent::AgentMessage, id::LeaseId, range::RangeSet};

use super::{Action, Session};

/// How long an agent that leaves waits for its last results to be stored, and for its leaving to be
/// heard.
pub(super) const LEAVE_MS: u64 = 5_000;

/// Whether the agent goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// It takes what it is lent.
    Working,
    /// It finishes what has begun, and takes no more.
    Draining,
    /// It waits for its last results to be stored, at most until a time.
    Leaving { until_ms: u64 },
    /// It said goodbye, and waits at most until a time for the stream to be closed.
    Left { until_ms: u64 },
}

impl Session {
    /// Finishes what has begun and leaves, or goes on after all.
    pub(super) fn drain(&mut self, draining: bool, actions: &mut Vec<Action>) {
        match (self.stay, draining) {
            (Stay::Working, true) => {
                self.stay = Stay::Draining;
                let all = self.leases.iter();
                actions
                    .extend(all.map(|(id, held)| Action::Withdraw(*id, held.unfinished.clone())));
            }
            (Stay::Draining, false) => self.stay = Stay::Working,
            // Whoever has begun to leave does.
            (Stay::Working | Stay::Draining | Stay::Leaving { .. } | Stay::Left { .. }, _) => {}
        }
    }

    /// Gives everything back that has not ended. What has begun and may not begin again goes on, as
    /// long as there is time.
    pub(super) fn leave(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if matches!(self.stay, Stay::Leaving { .. } | Stay::Left { .. }) {
            return;
        }
        self.stay = Stay::Leaving { until_ms: now_ms + LEAVE_MS };
        self.say_stopping(actions);
        let unfinished: Vec<(LeaseId, RangeSet)> =
            self.leases.iter().map(|(id, lease)| (*id, lease.unfinished.clone())).collect();
        for (id, tasks) in unfinished {
            if self.leases.get(&id).is_some_and(|lease| lease.once) {
                actions.push(Action::Withdraw(id, tasks));
                continue;
            }
            actions.push(Action::Stop(id));
            self.hand_back(id, &tasks, actions);
        }
    }

    /// Lets the leader lend nothing more here, where leaving takes a while.
    pub(super) fn say_stopping(&self, actions: &mut Vec<Action>) {
        if matches!(self.stay, Stay::Leaving { .. }) && self.is_up() {
            actions.push(Action::Send(AgentMessage::Stopping));
        }
    }

    /// Stops what may not be given back; its tasks without a result are abandoned.
    fn abandon(&mut self, actions: &mut Vec<Action>) {
        for (id, lease) in std::mem::take(&mut self.leases) {
            actions.push(Action::Stop(id));
            self.abandoned.push((id, lease.unfinished));
        }
    }

    /// Gives tasks back that this agent could have run.
    pub(super) fn hand_back(&mut self, id: LeaseId, tasks: &RangeSet, actions: &mut Vec<Action>) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.unfinished.remove_all(tasks);
        lease.open.remove_all(tasks);
        for range in tasks.ranges() {
            self.give_back(id, *range, None);
        }
        self.end_if_empty(id, actions);
    }

    /// Leaves when nothing is left to do, or when it takes too long.
    pub(super) fn say_goodbye(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if matches!(self.stay, Stay::Leaving { until_ms } if now_ms >= until_ms) {
            self.abandon(actions);
        }
        let stored = self.unstored.is_empty() && self.earlier.is_empty();
        let nothing_left = self.leases.is_empty() && stored;
        match self.stay {
            Stay::Draining | Stay::Leaving { .. } if nothing_left && self.is_up() => {
                let abandoned = std::mem::take(&mut self.abandoned);
                actions.push(Action::Send(AgentMessage::Leaving { abandoned }));
                self.stay = Stay::Left { until_ms: now_ms + LEAVE_MS };
            }
            // Nobody hears it: whoever leads next finds it missing.
            Stay::Leaving { .. } if nothing_left => actions.push(Action::End),
            Stay::Leaving { until_ms } if now_ms >= until_ms => actions.push(Action::End),
            Stay::Left { until_ms } if !self.is_up() || now_ms >= until_ms => {
                actions.push(Action::End);
            }
            Stay::Working | Stay::Draining | Stay::Leaving { .. } | Stay::Left { .. } => {}
        }
    }
}
