//! Nodes on their own and in groups: what is committed when, who joins and leaves, what is read.

use bytes::Bytes;
use weir_proto::id::ClusterId;

use super::*;
use crate::log::Recovered;

/// Nodes with disks that are durable at once, and a network that loses nothing.
struct Group {
    nodes: Vec<Node>,
    written: Vec<Vec<LogWrite>>,
    committed: Vec<Vec<Committed>>,
    reads: Vec<(Vec<u8>, u64)>,
}

fn identity(node: u64) -> Identity {
    Identity { cluster: ClusterId(7), node: NodeId(node) }
}

fn recovered(written: &[LogWrite]) -> Recovered {
    let mut write = LogWrite::default();
    written.iter().for_each(|later| write.merge(later.clone()));
    let LogWrite { entries, hard_state, snapshot, .. } = write;
    Recovered { hard_state, snapshot, entries }
}

impl Group {
    fn of(count: u64) -> Group {
        let begun = begin((1..=count).map(|node| (NodeId(node), format!("host-{node}:7400"))));
        let mut group = Group { nodes: vec![], written: vec![], committed: vec![], reads: vec![] };
        (1..=count).for_each(|node| group.join(node, vec![begun.clone()]));
        group
    }

    fn join(&mut self, node: u64, written: Vec<LogWrite>) {
        let node = Node::new(identity(node), &recovered(&written), 7).expect("a node");
        self.nodes.push(node);
        self.written.push(written);
        self.committed.push(Vec::new());
    }

    fn restart(&mut self, at: usize) {
        let identity = self.nodes[at].identity();
        let recovered = recovered(&self.written[at]);
        self.nodes[at] = Node::new(identity, &recovered, 8).expect("the node again");
    }

    /// Lets everything happen that has to, until all is quiet.
    fn settle(&mut self) {
        loop {
            let mut messages = Vec::new();
            for at in 0..self.nodes.len() {
                while let Some(output) = self.nodes[at].output() {
                    messages.extend(output.send);
                    messages.extend(output.send_persisted);
                    if let Some((number, write)) = output.persist {
                        self.written[at].push(write);
                        self.nodes[at].persisted(number);
                    }
                    for entry in output.committed {
                        self.nodes[at].applied(entry.index);
                        if let Payload::Members(change) = &entry.payload {
                            assert!(self.nodes[at].change(change));
                        }
                        self.committed[at].push(entry);
                    }
                    self.reads.extend(output.reads);
                }
            }
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let to = self.nodes.iter_mut().find(|node| node.identity().node == message.to);
                if let Some(node) = to {
                    node.receive(&message).expect("a message for this node");
                }
            }
        }
    }

    /// Lets time pass until somebody leads.
    fn elect(&mut self) -> usize {
        for _ in 0..1_000 {
            self.settle();
            if let Some(leader) = self.nodes.iter().position(Node::is_leader) {
                return leader;
            }
            self.nodes.iter_mut().for_each(Node::tick);
        }
        panic!("nobody is elected");
    }

    fn propose(&mut self, at: usize, data: &[u8]) {
        self.nodes[at].propose(b"c".to_vec(), data.to_vec()).expect("a leader");
        self.settle();
    }

    fn take_snapshot(&mut self, at: usize) {
        let index = self.committed[at].last().expect("an entry").index;
        let metadata = self.nodes[at].snapshot_metadata(index).expect("an applied index");
        let snapshot = LogSnapshot { index, metadata, state: Bytes::from_static(b"state") };
        self.nodes[at].compact(&snapshot, 0);
        let snapshot = Some(snapshot);
        self.written[at].push(LogWrite { snapshot, ..LogWrite::default() });
    }

    fn commands(&self, at: usize) -> Vec<&[u8]> {
        let commands = self.committed[at].iter().filter_map(|entry| match &entry.payload {
            Payload::Command(data) => Some(&data[..]),
            _ => None,
        });
        commands.collect()
    }
}

#[test]
fn a_node_alone_leads_and_commits_what_is_durable() {
    let mut group = Group::of(1);
    group.settle();
    assert!(group.nodes[0].is_leader());
    group.propose(0, b"data");
    assert_eq!(group.commands(0), [b"data"]);
}

#[test]
fn nothing_is_committed_before_it_is_durable() {
    let mut group = Group::of(1);
    group.settle();
    let node = &mut group.nodes[0];
    node.propose(Vec::new(), b"data".to_vec()).expect("a leader");
    let output = node.output().expect("entries to write");
    let (number, _) = output.persist.expect("a write");
    assert!(output.committed.is_empty());
    assert!(node.output().is_none_or(|output| output.committed.is_empty()));
    node.persisted(number);
    let output = node.output().expect("a committed entry");
    assert_eq!(output.committed.len(), 1);
}

#[test]
fn an_output_without_a_write_does_not_vouch_for_one_under_way() {
    let mut group = Group::of(1);
    group.settle();
    let node = &mut group.nodes[0];
    node.propose(Vec::new(), b"first".to_vec()).expect("a leader");
    let (first, _) = node.output().expect("entries").persist.expect("a write");
    node.propose(Vec::new(), b"second".to_vec()).expect("a leader");
    node.output().expect("entries").persist.expect("a write under way");
    node.persisted(first);
    let mut committed = Vec::new();
    while let Some(output) = node.output() {
        assert!(output.persist.is_none(), "a commit index is not worth a write");
        committed.extend(output.committed.into_iter().map(|entry| entry.payload));
    }
    assert_eq!(committed, [Payload::Command(b"first".to_vec())]);
}

#[test]
fn a_heartbeat_is_answered_while_the_disk_is_busy_and_an_entry_is_not() {
    let mut group = Group::of(3);
    let leader = group.elect();
    let follower = (leader + 1) % 3;
    let to = group.nodes[follower].identity().node;
    let told = |group: &mut Group| {
        let sent = group.nodes[leader].output().expect("messages").send.into_iter();
        for message in sent.filter(|message| message.to == to) {
            group.nodes[follower].receive(&message).expect("a message for this node");
        }
        group.nodes[follower].output().expect("answers")
    };
    group.nodes[leader].propose(Vec::new(), b"data".to_vec()).expect("a leader");
    let entry = told(&mut group);
    assert!(entry.persist.is_some() && entry.send.is_empty() && entry.send_persisted.len() == 1);
    (0..3).for_each(|_| group.nodes[leader].tick());
    let heartbeat = told(&mut group);
    assert!(heartbeat.persist.is_none() && heartbeat.send.len() == 1);
}

#[test]
fn a_node_finds_its_log_again_after_a_restart() {
    let mut group = Group::of(1);
    group.settle();
    group.propose(0, b"first");
    let term = group.nodes[0].term();
    group.restart(0);
    group.settle();
    assert!(group.nodes[0].term() > term);
    assert_eq!(group.commands(0), [b"first", b"first"]);
}

#[test]
fn a_log_with_a_hole_or_without_its_end_is_refused() {
    let mut group = Group::of(1);
    group.settle();
    (0..3).for_each(|_| group.propose(0, b"data"));
    let whole = recovered(&group.written[0]);
    let start = |change: &dyn Fn(&mut Recovered)| {
        let mut recovered = whole.clone();
        change(&mut recovered);
        Node::new(identity(1), &recovered, 9).err()
    };
    assert!(start(&|_| {}).is_none());
    let hole = start(&|recovered| drop(recovered.entries.remove(1)));
    assert!(matches!(hole, Some(NodeError::Hole { expected: 3, found: 4 })), "{hole:?}");
    let other = start(&|recovered| recovered.entries[1].bytes = whole.entries[0].bytes.clone());
    assert!(matches!(other, Some(NodeError::Hole { expected: 3, found: 2 })), "{other:?}");
    let short = start(&|recovered| recovered.entries.truncate(1));
    assert!(matches!(short, Some(NodeError::Truncated { last: 2, .. })), "{short:?}");
    let cut = start(&|recovered| recovered.entries[0].bytes.truncate(1));
    assert!(matches!(cut, Some(NodeError::Undecodable { what: "entry", .. })), "{cut:?}");
}

#[test]
fn three_nodes_elect_one_and_commit_the_same() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.propose(leader, b"data");
    (0..6).for_each(|_| group.nodes[leader].tick());
    group.settle();
    for at in 0..3 {
        assert_eq!(group.commands(at), [b"data"]);
        assert_eq!(group.nodes[at].leader(), Some(group.nodes[leader].identity().node));
    }
}

#[test]
fn a_node_that_elects_itself_tells_nobody_before_it_can_no_longer_forget_it() {
    let mut group = Group::of(1);
    let begun = group.written[0].clone();
    group.settle();
    let (node, address) = (NodeId(2), "host-2:7400".to_owned());
    let add = MemberChange::Add { node, address };
    group.nodes[0].propose_change(Vec::new(), &add).expect("a leader");
    group.settle();
    assert!(group.written[0].len() > begun.len());
    group.take_snapshot(0);
    group.restart(0);
    let leader = &mut group.nodes[0];
    assert!(leader.is_leader());
    let output = leader.output().expect("a term to write");
    let (number, _) = output.persist.expect("a write");
    assert!(output.send.is_empty() && !output.send_persisted.is_empty());
    leader.tick();
    leader.persisted(number);
    (0..6).for_each(|_| leader.tick());
    assert!(leader.output().is_some_and(|output| !output.send.is_empty()));
}

#[test]
fn one_who_joins_is_sent_a_snapshot_then_votes_then_leads_then_is_removed() {
    let mut group = Group::of(1);
    group.settle();
    group.propose(0, b"before");
    let (node, address) = (NodeId(2), "host-2:7400".to_owned());
    let add = MemberChange::Add { node, address };
    group.nodes[0].propose_change(Vec::new(), &add).expect("a leader");
    group.settle();
    group.join(2, vec![]);
    assert_eq!(group.nodes[1].role(), NodeRole::Learner);
    for _ in 0..20 {
        group.nodes.iter_mut().for_each(Node::tick);
        group.settle();
    }
    assert!(group.nodes[0].wants_snapshot(), "the first snapshot does not know node 2");
    group.take_snapshot(0);
    for _ in 0..20 {
        group.nodes.iter_mut().for_each(Node::tick);
        group.settle();
    }
    group.propose(0, b"after");
    assert_eq!(group.commands(1), [b"after"]);
    let found = recovered(&group.written[1]);
    assert_eq!(found.snapshot.expect("a snapshot").state, b"state"[..]);

    group.nodes[0].propose_change(Vec::new(), &MemberChange::Promote(node)).expect("a leader");
    group.settle();
    (0..4).for_each(|_| group.nodes[0].tick());
    group.settle();
    assert_eq!(group.nodes[1].role(), NodeRole::Follower);
    group.nodes[0].transfer_leader(node);
    group.settle();
    assert_eq!(group.nodes[1].role(), NodeRole::Leader);
    assert!(group.nodes[0].propose(Vec::new(), b"late".to_vec()).is_err());

    let remove = MemberChange::Remove(NodeId(1));
    group.nodes[1].propose_change(Vec::new(), &remove).expect("a leader");
    group.settle();
    group.propose(1, b"alone");
    assert_eq!(group.commands(1).last(), Some(&&b"alone"[..]));
    assert_eq!(group.nodes[1].progress(), []);
}

#[test]
fn a_leader_that_is_removed_after_all_leads_no_longer() {
    let mut group = Group::of(3);
    let old = group.elect();
    let removed = (old + 1) % 3;
    let node = group.nodes[removed].identity().node;
    group.nodes[old].propose_change(Vec::new(), &MemberChange::Remove(node)).expect("a leader");
    // The removal reaches the one that it is about, and its proposer is heard of no more.
    let output = group.nodes[old].output().expect("an entry");
    for message in output.send.iter().filter(|message| message.to == node) {
        group.nodes[removed].receive(message).expect("a message for this node");
    }
    let (number, write) = output.persist.expect("an entry to write");
    group.written[old].push(write);
    group.nodes[old].persisted(number);
    while group.nodes[old].output().is_some() {}
    while !group.nodes[removed].is_leader() {
        assert!(group.nodes[old].term() < 100, "it leads at last");
        (0..3).filter(|at| *at != old).for_each(|at| group.nodes[at].tick());
        group.settle();
        if !group.committed[removed].is_empty() {
            break;
        }
    }
    group.settle();
    assert!(!group.nodes[removed].is_leader());
    let next = group.elect();
    assert_ne!(next, removed);
}

#[test]
fn any_node_learns_what_a_read_must_see() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.propose(leader, b"data");
    for at in 0..3 {
        group.reads.clear();
        group.nodes[at].read(vec![at as u8]);
        group.settle();
        let committed = group.nodes[leader].committed();
        assert_eq!(group.reads, [(vec![at as u8], committed)]);
    }
}

#[test]
fn messages_of_other_clusters_for_others_and_of_oneself_are_refused() {
    let mut group = Group::of(3);
    let leader = group.elect();
    (0..4).for_each(|_| group.nodes[leader].tick());
    let message = group.nodes[leader].output().expect("heartbeats").send.swap_remove(0);
    let at = message.to.0 as usize - 1;
    let node = &mut group.nodes[at];
    let (from, us) = (message.from, message.to);
    let other = PeerMessage { cluster: ClusterId(8), ..message.clone() };
    assert!(matches!(node.receive(&other), Err(NotForUs::OtherCluster { .. })));
    let other = PeerMessage { to: NodeId(9), ..message.clone() };
    assert_eq!(node.receive(&other), Err(NotForUs::OtherNode { from, to: NodeId(9), us }));
    let other = PeerMessage { from: us, ..message.clone() };
    assert_eq!(node.receive(&other), Err(NotForUs::Twin(us)));
    let other = PeerMessage { raft: vec![0xff], ..message.clone() };
    assert_eq!(node.receive(&other), Err(NotForUs::Undecodable { from }));
    assert_eq!(node.receive(&message), Ok(()));
}
