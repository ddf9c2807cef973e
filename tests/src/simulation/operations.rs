//! What operators do: masters come and go, agents are drained, jobs stand still and go on.

use weir_master::control::{Control, Event, MemberRequest};
use weir_proto::{
    command::Change,
    id::{JobId, NodeId},
    range::{RangeSet, TaskRange},
};
use weir_scheduler::members::Identity;

use super::{
    Fact,
    clients::Question,
    master::address_of,
    world::{Happening, World, trace},
};

/// What is done about the masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Another machine joins.
    Add,
    /// One goes for good.
    Remove,
    /// Another leads.
    Transfer,
}

impl World {
    /// Asks the leader, if there is one, to change the masters; it may refuse.
    pub(super) fn operate(&mut self, operation: Operation) {
        let Some(leader) = self.leader() else { return };
        let Some(control) = &self.masters[leader].control else { return };
        let members: Vec<NodeId> = control.state().members.keys().copied().collect();
        let node = self.random.pick(&members);
        match operation {
            Operation::Add => {
                let is_spare = |host: &usize| self.masters[*host].identity.is_none();
                let Some(host) = (0..self.masters.len()).find(is_spare) else { return };
                self.add_master(leader, host);
            }
            Operation::Remove => self.ask(leader, Question::Operation(Fact::Removed), |ticket| {
                Event::ChangeMembers(ticket, MemberRequest::Remove(node))
            }),
            Operation::Transfer => {
                let question = Question::Operation(Fact::Transferred);
                self.ask(leader, question, |ticket| Event::TransferLeader(ticket, node));
            }
        }
    }

    /// Asks the leader to let a machine join.
    pub(super) fn add_master(&mut self, leader: usize, host: usize) {
        let request = MemberRequest::Add { address: address_of(host) };
        self.ask(leader, Question::Join { host }, |ticket| Event::ChangeMembers(ticket, request));
    }

    /// A machine is a master now, and starts with an empty disk.
    pub(super) fn joined(&mut self, master: usize, host: usize) {
        let control = self.masters[master].control.as_ref().expect("it has just answered");
        let mut members = control.state().members.iter();
        let node = members.find(|(_, member)| member.address == address_of(host));
        let node = *node.expect("it is a member").0;
        trace!(self, "machine {host} joins as {node}");
        self.counts.add(Fact::Joined, 1);
        let cluster = self.masters[master].identity.expect("it is a master").cluster;
        self.masters[host].identity = Some(Identity { cluster, node });
        self.masters[host].is_learner = true;
        let delay_us = self.random.mostly_short(1_000, 3_000_000);
        self.after(delay_us, Happening::MasterStarts { master: host });
    }

    /// Somebody wants an agent to leave, or to go on after all; the answer is not waited for.
    pub(super) fn drain(&mut self, agent: usize, draining: bool) {
        let Some(leader) = self.leader() else { return };
        let change = Change::DrainAgent { agent: self.agents[agent].id, draining };
        self.ask(leader, Question::Other, |ticket| Event::Client(ticket, change));
    }

    /// Somebody lets the last tasks of an active job stand still, or go on; 0 means all.
    pub(super) fn pause(&mut self, most: u32, paused: bool) {
        let Some(leader) = self.leader() else { return };
        let Some(state) = self.masters[leader].control.as_ref().map(Control::state) else { return };
        let active: Vec<JobId> = state.active.iter().copied().collect();
        if active.is_empty() {
            return;
        }
        let job = self.random.pick(&active);
        let count = state.jobs[&job].tasks();
        let tasks = match most {
            0 => RangeSet::new(),
            most => RangeSet::from_iter([TaskRange::new(count.saturating_sub(most), count)]),
        };
        let change = Change::PauseTasks { job, tasks, paused };
        self.ask(leader, Question::Other, |ticket| Event::Client(ticket, change));
    }

    /// Whoever paused a job lets it go on in the end.
    pub(super) fn resume_all(&mut self, leader: usize) {
        let Some(state) = self.masters[leader].control.as_ref().map(Control::state) else { return };
        let paused = |job: &JobId| state.jobs[job].stages.iter().any(|s| !s.paused.is_empty());
        let paused: Vec<JobId> = state.active.iter().copied().filter(paused).collect();
        for job in paused {
            let change = Change::PauseTasks { job, tasks: RangeSet::new(), paused: false };
            self.ask(leader, Question::Other, |ticket| Event::Client(ticket, change));
        }
    }
}
