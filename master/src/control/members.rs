//! Changes of who is a master: asked for, checked, committed, and what the leader does about each.
//!
//! One change at a time. A new master begins as a learner: it gets the log, and counts for a
//! majority only once it has caught up, so that adding one never stops the others.

use std::collections::BTreeMap;

use weir_proto::id::NodeId;
use weir_scheduler::members::{self, MAX_ADDRESS_BYTES, MAX_MEMBERS, MemberChange, Role};

use super::{Action, Control, Refusal, Ticket, Waiting};
use crate::node::{NodeRole, Progress};

/// A learner that lacks at most so many entries may vote.
const CAUGHT_UP_ENTRIES: u64 = 100;
/// A peer that has not taken its snapshot after so many ticks is sent another.
const SNAPSHOT_PATIENCE_TICKS: u32 = 200;

/// The leader, for whoever has to go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Which.
    pub node: NodeId,
    /// Where it is reached, `host:port`; empty before it was told.
    pub address: String,
}

/// What somebody wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberRequest {
    /// Another master, reached there.
    Add {
        /// `host:port`.
        address: String,
    },
    /// No longer this one.
    Remove(NodeId),
}

/// Why the members stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberProblem {
    /// No such master, or it was removed.
    #[error("{0} is no master of this cluster; `weir cluster members` lists them")]
    Unknown(NodeId),
    /// Somebody is reached there already.
    #[error("{address} is {node} already; if it lost its disk, remove {node} first")]
    AddressTaken {
        /// Where.
        address: String,
        /// Who.
        node: NodeId,
    },
    /// The address cannot be one.
    #[error("a master's address is `host:port` of at most {MAX_ADDRESS_BYTES} bytes")]
    Address,
    /// There are enough.
    #[error("a cluster has at most {MAX_MEMBERS} masters")]
    TooMany,
    /// One change at a time.
    #[error("another change of the masters is under way; try again in a moment")]
    UnderWay,
    /// Nobody would be left.
    #[error("{0} is the only master that votes")]
    LastVoter(NodeId),
    /// Its word is needed for its own removal.
    #[error("{0} leads; let another lead first with `weir cluster transfer-leader`")]
    Leads(NodeId),
    /// The others could commit nothing.
    #[error(
        "without {node} only {active} of {voters} masters that vote would be up; start one first"
    )]
    NoMajority {
        /// Who would go.
        node: NodeId,
        /// Who would be up.
        active: usize,
        /// Who would be left.
        voters: usize,
    },
    /// It cannot lead.
    #[error("{0} cannot lead: it does not vote, or does not answer")]
    CannotLead(NodeId),
    /// The nodes refused it when it was committed.
    #[error("the change makes no sense any more")]
    Refused,
}

/// How long each peer has been at its snapshot, in ticks.
#[derive(Debug, Default)]
pub(super) struct InSnapshot(BTreeMap<NodeId, u32>);

impl Control {
    /// Who leads, as far as this master knows, if it is another.
    pub fn leader(&self) -> Option<Leader> {
        let node = self.node.leader().filter(|node| *node != self.node.identity().node)?;
        let address = self.state.members.get(&node).map(|member| member.address.clone());
        Some(Leader { node, address: address.unwrap_or_default() })
    }

    /// What this master is in its group.
    pub fn role(&self) -> NodeRole {
        self.node.role()
    }

    /// Which master it is.
    pub fn node(&self) -> NodeId {
        self.node.identity().node
    }

    /// How far the others are; only a leader knows.
    pub fn progress(&self) -> Vec<Progress> {
        self.node.progress()
    }

    pub(super) fn change_members(
        &mut self,
        ticket: Ticket,
        request: MemberRequest,
        actions: &mut Vec<Action>,
    ) {
        let waiting = Waiting::Client(ticket);
        let asked = self.check_change(request);
        if let Err(refusal) = asked.and_then(|change| self.propose_change(&change, waiting)) {
            actions.push(Action::Answer(ticket, Err(refusal)));
        }
    }

    fn check_change(&self, request: MemberRequest) -> Result<MemberChange, Refusal> {
        if self.table.is_none() {
            return Err(self.not_leader());
        }
        Ok(match request {
            MemberRequest::Add { address } => self.check_add(address)?,
            MemberRequest::Remove(node) => self.check_remove(node)?,
        })
    }

    fn check_add(&self, address: String) -> Result<MemberChange, MemberProblem> {
        let members = &self.state.members;
        if !address.contains(':') || address.len() > MAX_ADDRESS_BYTES {
            return Err(MemberProblem::Address);
        }
        if let Some((node, _)) = members.iter().find(|(_, member)| member.address == address) {
            return Err(MemberProblem::AddressTaken { address, node: *node });
        }
        if members.len() >= MAX_MEMBERS {
            return Err(MemberProblem::TooMany);
        }
        Ok(MemberChange::Add { node: NodeId(self.state.last_node + 1), address })
    }

    fn check_remove(&self, node: NodeId) -> Result<MemberChange, MemberProblem> {
        let us = self.node();
        let member = self.state.members.get(&node).ok_or(MemberProblem::Unknown(node))?;
        let left: Vec<NodeId> = self.voters().filter(|voter| *voter != node).collect();
        if left.is_empty() {
            return Err(MemberProblem::LastVoter(node));
        }
        if node == us {
            return Err(MemberProblem::Leads(node));
        }
        let active = self.node.progress().into_iter().filter(|peer| peer.active);
        let active: Vec<NodeId> = active.map(|peer| peer.node).chain([us]).collect();
        let active = left.iter().filter(|voter| active.contains(voter)).count();
        if member.role == Role::Voter && active * 2 <= left.len() {
            return Err(MemberProblem::NoMajority { node, active, voters: left.len() });
        }
        Ok(MemberChange::Remove(node))
    }

    fn voters(&self) -> impl Iterator<Item = NodeId> {
        let voters = self.state.members.iter().filter(|(_, member)| member.role == Role::Voter);
        voters.map(|(node, _)| *node)
    }

    fn propose_change(&mut self, change: &MemberChange, waiting: Waiting) -> Result<(), Refusal> {
        if self.node.is_changing() {
            return Err(MemberProblem::UnderWay.into());
        }
        let context = self.context_for(waiting);
        self.node.propose_change(context, change).map_err(|_| {
            self.waiting.remove(&self.last_proposal);
            self.not_leader()
        })
    }

    /// A change is committed; every node takes it, or none.
    pub(super) fn apply_change(&mut self, change: MemberChange, index: u64) -> Option<Refusal> {
        if self.node.change(&change) {
            members::change(&mut self.state, change, index);
            None
        } else {
            self.state.applied = index;
            Some(MemberProblem::Refused.into())
        }
    }

    /// Lets another master lead. That it does is seen later, if it comes about.
    pub(super) fn transfer_leader(
        &mut self,
        ticket: Ticket,
        to: NodeId,
        actions: &mut Vec<Action>,
    ) {
        let active = |peer: &Progress| peer.node == to && peer.active;
        let answer = if self.table.is_none() {
            Err(self.not_leader())
        } else if !self.state.members.contains_key(&to) {
            Err(MemberProblem::Unknown(to).into())
        } else if to == self.node() {
            Ok(None)
        } else if self.voters().any(|voter| voter == to) && self.node.progress().iter().any(active)
        {
            self.node.transfer_leader(to);
            Ok(None)
        } else {
            Err(MemberProblem::CannotLead(to).into())
        };
        actions.push(Action::Answer(ticket, answer));
    }

    /// Lets learners vote that have caught up, and gives up snapshots that came to nothing.
    pub(super) fn tick_members(&mut self) {
        if self.table.is_none() {
            self.in_snapshot = InSnapshot::default();
            return;
        }
        let mut in_snapshot = InSnapshot::default();
        for peer in self.node.progress() {
            if peer.in_snapshot {
                let ticks = self.in_snapshot.0.get(&peer.node).map_or(1, |ticks| ticks + 1);
                if ticks < SNAPSHOT_PATIENCE_TICKS {
                    in_snapshot.0.insert(peer.node, ticks);
                } else {
                    self.node.snapshot_failed(peer.node);
                }
            }
            let role = self.state.members.get(&peer.node).map(|member| member.role);
            let caught_up = peer.active
                && peer.matched > 0
                && peer.matched + CAUGHT_UP_ENTRIES >= self.node.committed();
            if role == Some(Role::Learner) && caught_up && !self.node.is_changing() {
                let promote = MemberChange::Promote(peer.node);
                // Refused only when it no longer leads; then it is the next leader's to do.
                let _proposed = self.propose_change(&promote, Waiting::Nothing);
            }
        }
        self.in_snapshot = in_snapshot;
    }
}
