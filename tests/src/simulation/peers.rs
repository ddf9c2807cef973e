//! Between masters: messages that get lost, late, twice and out of order, partitions, pages of
//! snapshots on their way; and what must hold of all masters together.

use std::collections::BTreeMap;

use weir_master::{
    control::{Control, Event},
    node::{NodeRole, PeerMessage},
};
use weir_proto::{
    digest::Digest,
    id::{Namespace, NodeId},
};

use super::{
    Fact,
    trouble::Trouble,
    world::{Happening, World, trace},
};

/// One in so many messages gets lost while there are faults, and one comes twice.
const LOST: u64 = 60;
const TWICE: u64 = 60;

/// What is known of all masters together.
#[derive(Default)]
pub(super) struct Peers {
    /// Until when nothing gets from one machine to another.
    parted: BTreeMap<(usize, usize), u64>,
    /// Who led in which term.
    leaders: BTreeMap<u64, NodeId>,
    /// Whom a node voted for in a term.
    votes: BTreeMap<(NodeId, u64), NodeId>,
}

impl Peers {
    /// How many terms had a leader.
    pub(super) fn leaders(&self) -> usize {
        self.leaders.len()
    }
}

impl World {
    pub(super) fn host_of(&self, node: NodeId) -> Option<usize> {
        let is = |identity: weir_scheduler::members::Identity| identity.node == node;
        self.masters.iter().position(|master| master.identity.is_some_and(is))
    }

    pub(super) fn send_to_peer(&mut self, master: usize, message: PeerMessage) {
        self.check_promise(master, &message);
        let node = message.to;
        let Some(to) = self.host_of(node) else { return };
        let boot = self.masters[master].boot;
        if self.is_parted(master, to) || self.goes_wrong(LOST) {
            self.counts.add(Fact::LostPeerMessage, 1);
            // Sometimes the sender notices.
            if self.random.one_in(3) {
                let delay_us = self.random.mostly_short(1_000, 3_000_000);
                self.after(delay_us, Happening::PeerLost { boot, peer: node });
            }
            return;
        }
        let twice = self.goes_wrong(TWICE);
        for _ in 0..1 + u32::from(twice) {
            let delay_us = self.message_delay_us();
            self.after(delay_us, Happening::ToPeer { message: message.clone() });
        }
    }

    pub(super) fn peer_receives(&mut self, message: PeerMessage) {
        let hosts = (self.host_of(message.from), self.host_of(message.to));
        let (Some(from), Some(to)) = hosts else { return };
        if !self.is_parted(from, to) {
            self.step_master(to, Event::FromPeer(message));
        }
    }

    pub(super) fn peer_lost(&mut self, boot: u64, peer: NodeId) {
        let Some(master) = self.running(boot) else { return };
        self.step_master(master, Event::PeerUnreachable(peer));
        self.step_master(master, Event::SnapshotLost(peer));
    }

    pub(super) fn fetch_pages(
        &mut self,
        master: usize,
        message: PeerMessage,
        pages: Vec<(Namespace, Digest)>,
    ) {
        let store = &self.masters[master].pages.store;
        let pages = pages.into_iter().map(|(_, digest)| digest);
        let pages = pages.filter(|digest| !store.contains_key(digest)).collect();
        let boot = self.masters[master].boot;
        let delay_us = self.random.mostly_short(10, 2_000_000);
        self.after(delay_us, Happening::PagesFetched { boot, message, pages });
    }

    pub(super) fn pages_fetched(&mut self, boot: u64, message: PeerMessage, pages: &[Digest]) {
        let Some(master) = self.running(boot) else { return };
        let source = self.host_of(message.from).expect("it sent a snapshot");
        let reached = self.masters[source].control.is_some() && !self.is_parted(source, master);
        let troubled = matches!(self.trouble(master), Some(Trouble::Full | Trouble::Failing));
        if !pages.is_empty() && (troubled || !reached || (self.goes_wrong(8))) {
            return self.step_master(master, Event::PagesMissing);
        }
        for digest in pages {
            let page = self.masters[source].page(*digest);
            let page = page.expect("whoever sends a snapshot has its pages").to_vec();
            self.masters[master].pages.store.insert(*digest, page);
        }
        self.step_master(master, Event::PagesFetched(message));
    }

    /// Machines on one side of a line reach none on the other.
    pub(super) fn part_masters(&mut self, one_way: bool, for_us: u64) {
        let side: Vec<bool> = self.masters.iter().map(|_| self.random.one_in(2)).collect();
        trace!(self, "masters are parted: {side:?}");
        self.counts.add(Fact::Parted, 1);
        let until_us = self.now_us + for_us;
        for from in 0..side.len() {
            for to in 0..side.len() {
                if side[from] != side[to] && (side[from] || !one_way) {
                    self.peers.parted.insert((from, to), until_us);
                }
            }
        }
    }

    fn is_parted(&self, from: usize, to: usize) -> bool {
        let until_us = self.peers.parted.get(&(from, to));
        self.is_faulty() && until_us.is_some_and(|until_us| self.now_us < *until_us)
    }

    /// A node votes once in a term, however often it restarts.
    fn check_promise(&mut self, master: usize, message: &PeerMessage) {
        let Some(promise) = message.promise() else { return };
        let told = &mut self.masters[master].told_term;
        *told = promise.term.max(*told);
        if let Some(vote) = promise.vote {
            let (node, term) = (message.from, promise.term);
            let first = *self.peers.votes.entry((node, term)).or_insert(vote);
            assert_eq!(first, vote, "{node} votes twice in term {term}");
        }
    }

    /// A term has one leader.
    pub(super) fn check_leader(&mut self, master: usize) {
        let Some(control) = &self.masters[master].control else { return };
        let role = control.role();
        if self.masters[master].is_learner && role == NodeRole::Follower {
            self.counts.add(Fact::Promoted, 1);
        }
        self.masters[master].is_learner &= role == NodeRole::Learner;
        if role != NodeRole::Leader {
            return;
        }
        let Some(control) = &self.masters[master].control else { return };
        let (node, term) = (control.node(), control.term());
        let last = self.peers.leaders.last_key_value().map(|(_, node)| *node);
        let first = *self.peers.leaders.entry(term).or_insert(node);
        assert_eq!(first, node, "term {term} has two leaders");
        if last.is_some_and(|last| last != node) {
            self.counts.add(Fact::NewLeader, 1);
        }
    }

    /// Nothing is under way anywhere: there is a leader without work, and all members know it all.
    pub(super) fn masters_are_idle(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(control) = &self.masters[leader].control else { return false };
        let lends = control.table().is_some_and(|table| !table.leases().is_empty());
        let members = control.state().members.keys().filter_map(|node| self.host_of(*node));
        control.proposals() == 0
            && !lends
            && members.into_iter().all(|host| self.is_up_to_date(host))
    }

    /// Whether a machine is a master that has applied all that the leader has.
    pub(super) fn is_up_to_date(&self, master: usize) -> bool {
        let applied = |master: usize| {
            let control: Option<&Control> = self.masters[master].control.as_ref();
            control.map(|control| control.state().applied)
        };
        self.leader().is_some_and(|leader| applied(master) == applied(leader))
    }
}
