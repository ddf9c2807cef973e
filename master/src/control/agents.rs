//! The master's side of its sessions with agents, without I/O.
//!
//! Stop 7 (leases go out) and stop 11 (pages come in) of a task's way.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{
    agent::{AgentDescription, AgentMessage, MasterMessage, SequencedPage},
    command::Change,
    id::{AgentId, LeaseId},
    lease::{Lease, LeaseMarks},
    page::Page,
    range::RangeSet,
};
use weir_scheduler::{
    lease::{COOL_DOWN_MS, LeaseTasks},
    state::AgentLife,
};

use super::{Action, Control, Waiting, speed::is_same_but_for_speed};

/// How often an agent should be heard of, in milliseconds.
pub const HEARTBEAT_MS: u64 = 1_000;

/// Why a session ends.
pub(super) const BUSY: &str = "the master is busy; try again";
pub(super) const NOT_LEADING: &str = "this master does not lead";
pub(super) const NO_PAGE: &str = "a page does not decode";

/// A session with an agent, numbered by whoever holds its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The first message of a session.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) agent: AgentDescription,
    pub(super) held: Vec<LeaseMarks>,
    /// Of the agent's life.
    pub(super) connection: u64,
}

/// Who speaks in which session.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    agents: BTreeMap<SessionId, AgentId>,
    sessions: BTreeMap<AgentId, SessionId>,
    /// Sessions that were refused, and may still say what was on its way.
    refused: BTreeSet<SessionId>,
    /// Agents whose loss or leaving is proposed and not committed yet.
    going: BTreeSet<AgentId>,
}

impl Sessions {
    /// Makes this the one session of an agent.
    fn open(&mut self, session: SessionId, agent: AgentId, actions: &mut Vec<Action>) {
        if let Some(old) = self.sessions.insert(agent, session)
            && old != session
        {
            self.agents.remove(&old);
            actions.push(Action::CloseSession(old, "the agent opened another session"));
        }
        self.agents.insert(session, agent);
    }

    fn close(&mut self, session: SessionId) -> Option<AgentId> {
        let agent = self.agents.remove(&session)?;
        self.sessions.remove(&agent);
        Some(agent)
    }

    /// Ends a session that nothing more is to be heard of.
    pub(super) fn refuse(
        &mut self,
        session: SessionId,
        why: &'static str,
        actions: &mut Vec<Action>,
    ) {
        self.refused.insert(session);
        actions.push(Action::CloseSession(session, why));
    }

    pub(super) fn has(&self, agent: AgentId) -> bool {
        self.sessions.contains_key(&agent)
    }

    /// It is committed that an agent is gone: should it speak again, it begins anew.
    pub(super) fn gone(&mut self, agent: AgentId, actions: &mut Vec<Action>) {
        self.going.remove(&agent);
        if let Some(session) = self.sessions.get(&agent).copied() {
            self.close(session);
            actions.push(Action::CloseSession(session, "the agent left, or was silent too long"));
        }
    }

    /// Tells an agent to leave, or to go on after all.
    pub(super) fn drain(&self, agent: AgentId, draining: bool, actions: &mut Vec<Action>) {
        if let Some(session) = self.sessions.get(&agent) {
            actions.push(Action::ToAgent(*session, MasterMessage::Drain(draining)));
        }
    }

    /// Agents, each with its session.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = (AgentId, SessionId)> {
        self.sessions.iter().map(|(agent, session)| (*agent, *session))
    }

    /// Ends every session.
    pub(super) fn close_all(&mut self, why: &'static str, actions: &mut Vec<Action>) {
        for (session, _) in std::mem::take(&mut self.agents) {
            actions.push(Action::CloseSession(session, why));
        }
        self.sessions.clear();
        self.going.clear();
    }

    /// Sends leases, one message for each agent.
    pub(super) fn grant(&self, grants: Vec<(AgentId, Lease)>, actions: &mut Vec<Action>) {
        let mut messages: BTreeMap<SessionId, Vec<Lease>> = BTreeMap::new();
        for (agent, lease) in grants {
            if let Some(session) = self.sessions.get(&agent) {
                messages.entry(*session).or_default().push(lease);
            }
        }
        for (session, leases) in messages {
            actions.push(Action::ToAgent(session, MasterMessage::Grants(leases)));
        }
    }

    /// Tells agents of tasks of their leases, one message for each agent.
    pub(super) fn tell(
        &self,
        message: fn(Vec<(LeaseId, RangeSet)>) -> MasterMessage,
        told: Vec<LeaseTasks>,
        actions: &mut Vec<Action>,
    ) {
        let mut messages: BTreeMap<SessionId, Vec<(LeaseId, RangeSet)>> = BTreeMap::new();
        for (agent, lease, tasks) in told {
            if let Some(session) = self.sessions.get(&agent) {
                messages.entry(*session).or_default().push((lease, tasks));
            }
        }
        for (session, leases) in messages {
            actions.push(Action::ToAgent(session, message(leases)));
        }
    }

    /// Tells agents which leases nobody wants any more.
    pub(super) fn revoke(&self, revoked: Vec<(AgentId, LeaseId)>, actions: &mut Vec<Action>) {
        let mut messages: BTreeMap<SessionId, Vec<LeaseId>> = BTreeMap::new();
        for (agent, lease) in revoked {
            if let Some(session) = self.sessions.get(&agent) {
                messages.entry(*session).or_default().push(lease);
            }
        }
        for (session, leases) in messages {
            actions.push(Action::ToAgent(session, MasterMessage::Revoke(leases)));
        }
    }
}

impl Control {
    pub(super) fn agent_said(
        &mut self,
        session: SessionId,
        message: AgentMessage,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.sessions.refused.contains(&session) {
            return;
        }
        if let AgentMessage::Hello { agent, held, connection } = message {
            return self.hello(session, Hello { agent, held, connection }, now_ms, actions);
        }
        if let AgentMessage::Kept { agent, cluster, pages } = message {
            return self.kept_pages(session, agent, cluster, pages, now_ms, actions);
        }
        let Some(agent) = self.sessions.agents.get(&session).copied() else {
            // Messages may still be under way in a session that was closed a moment ago.
            return actions.push(Action::CloseSession(session, "a session begins with a hello"));
        };
        let Some(table) = &mut self.table else { return };
        match message {
            AgentMessage::Hello { .. } | AgentMessage::Kept { .. } => {}
            AgentMessage::Heartbeat(marks) => table.heard(agent, &marks, now_ms),
            AgentMessage::Pages { pages, leases } => {
                table.heard(agent, &leases, now_ms);
                self.pages(session, agent, pages, now_ms, actions);
            }
            AgentMessage::Returned { lease, range, reason } => {
                let cool_until_ms = reason.map(|_| now_ms + COOL_DOWN_MS);
                if table.give_back(agent, lease, range, cool_until_ms) {
                    self.sessions.revoke(vec![(agent, lease)], actions);
                }
            }
            AgentMessage::Live(chunks) => actions.push(Action::Live(chunks)),
            AgentMessage::Stopping => table.stops(agent),
            AgentMessage::Leaving { abandoned } => {
                self.gone(agent, Change::AgentLeft { agent, abandoned }, now_ms);
            }
            AgentMessage::Precompiled { module, metering, came } => {
                self.precompiles.told(agent, module, metering, &came);
            }
            AgentMessage::Calibrated { fuel_per_second } => {
                self.calibrated(agent, fuel_per_second, now_ms);
            }
        }
    }

    pub(super) fn agent_closed(&mut self, session: SessionId) {
        self.sessions.refused.remove(&session);
        let agent = self.sessions.close(session);
        if let Some(agent) = agent {
            self.precompiles.closed(agent);
        }
        if let (Some(agent), Some(table)) = (agent, &mut self.table) {
            table.detach(agent);
        }
    }

    /// An agent that comes back within its life goes on at once; a new life of it is registered
    /// first, and the old one blamed for what it left.
    fn hello(&mut self, session: SessionId, hello: Hello, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(table) = &self.table else {
            return actions.push(Action::CloseSession(session, NOT_LEADING));
        };
        let id = hello.agent.id;
        let record = self.state.agents.get(&id);
        let same_life = record.is_some_and(|record| {
            is_same_but_for_speed(&record.description, &hello.agent)
                && matches!(record.life, AgentLife::Live { .. })
        });
        if same_life && !self.sessions.going.contains(&id) {
            let fuel_per_second = hello.agent.fuel_per_second;
            self.registered(session, hello, true, now_ms, actions);
            return self.calibrated(id, fuel_per_second, now_ms);
        }
        if table.incarnation(id).is_some_and(|known| known != hello.agent.incarnation) {
            self.lose(id, now_ms);
        }
        let register = Change::RegisterAgent(hello.agent.clone());
        if self.propose(register, Waiting::Register(session, hello), now_ms).is_err() {
            actions.push(Action::CloseSession(session, BUSY));
        }
    }

    /// The agent is registered: takes over what it holds, and lets it begin.
    pub(super) fn registered(
        &mut self,
        session: SessionId,
        hello: Hello,
        accepted: bool,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(table) = self.table.as_mut().filter(|_| accepted) else {
            return actions.push(Action::CloseSession(session, "the cluster has too many agents"));
        };
        let agent = hello.agent.id;
        self.sessions.open(session, agent, actions);
        self.precompiles.closed(agent);
        let Hello { agent: description, held, connection } = hello;
        let attached = table.attach(&self.state, description, connection, held, now_ms);
        let paused = table.paused_on(agent);
        let cluster = self.node.identity().cluster;
        let term = self.node.term();
        let welcome = MasterMessage::Welcome { cluster, heartbeat_ms: HEARTBEAT_MS, term };
        actions.push(Action::ToAgent(session, welcome));
        self.sessions.tell(MasterMessage::Pause, paused, actions);
        if self.state.is_draining(agent) {
            self.sessions.drain(agent, true, actions);
        }
        if !attached.revoke.is_empty() {
            actions.push(Action::ToAgent(session, MasterMessage::Revoke(attached.revoke)));
        }
    }

    /// Proposes an agent's loss, with the tasks to blame.
    pub(super) fn lose(&mut self, agent: AgentId, now_ms: u64) {
        let Some(table) = &self.table else { return };
        let change = Change::AgentLost { agent, suspects: table.suspects(agent) };
        self.gone(agent, change, now_ms);
    }

    /// Proposes that an agent is gone, once.
    fn gone(&mut self, agent: AgentId, change: Change, now_ms: u64) {
        if !self.sessions.going.contains(&agent)
            && self.propose(change, Waiting::Gone(agent), now_ms).is_ok()
        {
            self.sessions.going.insert(agent);
        }
    }

    /// Proposes pages. An agent that sends what is none is cut off: it is broken.
    fn pages(
        &mut self,
        session: SessionId,
        agent: AgentId,
        pages: Vec<SequencedPage>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        for sequenced in &pages {
            let Ok(page) = Page::decode(&sequenced.page) else {
                self.sessions.close(session);
                return actions.push(Action::CloseSession(session, NO_PAGE));
            };
            // Numbers of an agent: whatever they are, they do not overflow.
            let wall_us = page.results.iter().map(|result| result.usage.wall_us);
            let wall_us = wall_us.fold(0, u64::saturating_add);
            if let Some(table) = &mut self.table {
                table.measured(page.stage, wall_us / page.results.len() as u64);
                table.sent(agent, sequenced.lease, page.range());
            }
        }
        let seqs = pages.iter().map(|page| page.seq).collect();
        let pages = pages.into_iter().map(|page| page.page).collect();
        let change = Change::CommitPages { agent, pages };
        // The agent keeps the pages until they are stored, and sends them again in a new session.
        if self.propose(change, Waiting::Pages(session, seqs), now_ms).is_err() {
            self.agent_closed(session);
            actions.push(Action::CloseSession(session, BUSY));
        }
    }
}
