//! Taking the lead, and losing it: what only a leader has begins and ends here.

use weir_proto::command::Change;
use weir_scheduler::lease::LeaseTable;

use super::{Action, Control, Refusal, Waiting, measure::Measuring};

impl Control {
    /// Tells where others reach this master, `host:port`.
    pub fn advertise(&mut self, address: String) {
        self.address = Some(address);
    }

    /// Where others reach it; empty before that is known.
    pub fn advertised(&self) -> &str {
        self.address.as_deref().unwrap_or_default()
    }

    pub(super) fn not_leader(&self) -> Refusal {
        Refusal::NotLeader(self.leader())
    }

    /// The first entry of this leader's term is applied: state is as new as any client has seen.
    pub(super) fn lead(&mut self, now_ms: u64) {
        self.table = Some(LeaseTable::lead(&self.state, self.node.term(), now_ms));
        if self.state.cluster.is_none() {
            let create = Change::CreateCluster(self.node.identity().cluster);
            // Refused only when there is too much to do, and nothing has been done yet.
            let _proposed = self.propose(create, Waiting::Nothing, now_ms);
        }
        self.announce(now_ms);
    }

    /// Tells where it is reached, if that is not known.
    fn announce(&mut self, now_ms: u64) {
        let node = self.node();
        let known = self.state.members.get(&node).map(|member| &member.address);
        if let Some(address) = self.address.clone().filter(|address| Some(address) != known) {
            let _proposed =
                self.propose(Change::SetAddress { node, address }, Waiting::Nothing, now_ms);
        }
    }

    pub(super) fn step_down(&mut self, actions: &mut Vec<Action>) {
        self.table = None;
        self.measuring = Measuring::default();
        self.precompiles.clear();
        let why = "this master no longer leads";
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Client(ticket) => {
                    actions.push(Action::Answer(ticket, Err(self.not_leader())));
                }
                // It is not among the open ones, and would wait for its answer for ever.
                Waiting::Register(session, _) | Waiting::Pages(session, _) => {
                    self.sessions.refuse(session, why, actions);
                }
                Waiting::Nothing | Waiting::Grant(..) | Waiting::Gone(_) => {}
            }
        }
        self.sessions.close_all(why, actions);
    }
}
