//! Taking the lead, and losing it: what only a leader has begins and ends here.

use weir_proto::{command::Change, id::NodeId};
use weir_scheduler::lease::LeaseTable;

use super::{Action, Control, Refusal, Waiting, measure::Measuring};

/// What a master says of itself to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Where it is reached, `host:port`.
    pub address: String,
    /// What was drawn when its data directory was made; 0 where that does not matter.
    pub data: u64,
}

impl Control {
    /// Tells where others reach this master, and which data it has.
    pub fn introduce(&mut self, introduction: Introduction) {
        self.introductions.insert(self.node(), introduction);
    }

    /// Another master said who it is; whoever leads, now or later, lets all know.
    pub(super) fn introduced(&mut self, node: NodeId, introduction: Introduction, now_ms: u64) {
        self.introductions.insert(node, introduction);
        let (us, members) = (self.node(), &self.state.members);
        self.introductions.retain(|node, _| *node == us || members.contains_key(node));
        self.announce(now_ms);
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

    /// Tells where masters are reached and which data they have, if that is not known.
    fn announce(&mut self, now_ms: u64) {
        if self.table.is_none() {
            return;
        }
        for (node, Introduction { address, data }) in self.introductions.clone() {
            let Some(known) = self.state.members.get(&node) else { continue };
            let data_is_news = known.data == 0 && data != 0;
            if known.address != address || data_is_news {
                let introduce = Change::SetAddress { node, address, data };
                let _proposed = self.propose(introduce, Waiting::Nothing, now_ms);
            }
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
