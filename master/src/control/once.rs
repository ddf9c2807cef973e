//! Leases of tasks that run at most once: committed before they are sent, and free for others only
//! once that is committed.

use weir_proto::{
    agent::{KeptPage, MasterMessage},
    command::Change,
    id::{AgentId, ClusterId},
    lease::Lease,
    page::Page,
};

use super::{Action, Control, SessionId, Waiting, agents};

impl Control {
    /// Proposes a lease that was decided; false when it cannot be proposed now.
    pub(super) fn grant_once(&mut self, agent: AgentId, lease: Lease, now_ms: u64) -> bool {
        let attached = self.table.as_ref().and_then(|table| table.agents().get(&agent));
        let Some(attached) = attached else { return false };
        let (incarnation, connection) = (attached.description.incarnation, attached.connection);
        let (id, stage, range) = (lease.id, lease.stage, lease.range);
        let change = Change::GrantOnce { lease: id, stage, range, agent, incarnation, connection };
        let waiting = Waiting::Grant(agent, Box::new(lease));
        let proposed = self.propose(change, waiting, now_ms).is_ok();
        if let Some(table) = self.table.as_mut().filter(|_| !proposed) {
            table.give_back(agent, id, range, None);
        }
        proposed
    }

    /// A lease is committed, or was refused.
    pub(super) fn granted_once(
        &mut self,
        agent: AgentId,
        lease: Lease,
        accepted: bool,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(table) = &mut self.table else { return };
        if !accepted {
            table.give_back(agent, lease.id, lease.range, None);
            return;
        }
        if !table.committed_once(lease.stage, lease.id, &[lease.range].into_iter().collect()) {
            return;
        }
        if !self.sessions.has(agent) {
            table.give_back(agent, lease.id, lease.range, None);
            return;
        }
        let paused = table.paused_on(agent).into_iter().filter(|(_, id, _)| *id == lease.id);
        let paused = paused.collect();
        let grants = vec![(agent, lease)];
        self.measuring.granted(&grants, now_ms, actions);
        self.sessions.grant(grants, actions);
        self.sessions.tell(MasterMessage::Pause, paused, actions);
    }

    /// Proposes as free what nobody has; what cannot be proposed now is in the next step.
    pub(super) fn return_unheld(&mut self, now_ms: u64) {
        let Some(table) = &mut self.table else { return };
        for ((stage, lease), tasks) in table.take_unheld() {
            let change = Change::ReturnOnce { stage, lease, tasks: tasks.clone() };
            if self.propose(change, Waiting::Nothing, now_ms).is_err()
                && let Some(table) = &mut self.table
            {
                table.still_unheld([((stage, lease), tasks)].into_iter().collect());
            }
        }
    }

    /// Results of an earlier life of an agent, before this one says hello: they are in the log before
    /// that life is given up.
    pub(super) fn kept_pages(
        &mut self,
        session: SessionId,
        agent: AgentId,
        cluster: ClusterId,
        pages: Vec<KeptPage>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.table.is_none() {
            return self.sessions.refuse(session, agents::NOT_LEADING, actions);
        }
        let seqs = pages.iter().map(|page| page.seq).collect();
        if self.node.identity().cluster != cluster {
            // Nobody waits for them here, whatever jobs have the same numbers.
            return actions.push(Action::ToAgent(session, MasterMessage::PagesStored(seqs)));
        }
        // What is no page here will be none the next time either: it is as good as stored.
        let pages = pages.into_iter().map(|page| page.page);
        let pages: Vec<Vec<u8>> = pages.filter(|page| Page::decode(page).is_ok()).collect();
        let change = Change::CommitPages { agent, pages };
        if self.propose(change, Waiting::Pages(session, seqs), now_ms).is_err() {
            self.sessions.refuse(session, agents::BUSY, actions);
        }
    }
}
