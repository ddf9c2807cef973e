//! When a blob may be acknowledged: once a majority of the masters that vote has it durably.
//!
//! Any two majorities share a master, so whichever masters are left to go on, one of them has it.

use std::collections::BTreeSet;

use weir_proto::id::NodeId;

/// What is known of one put, or of several that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    voters: BTreeSet<NodeId>,
    have: BTreeSet<NodeId>,
    failed: BTreeSet<NodeId>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Waiting,
    /// It may be acknowledged.
    Enough,
    /// Too many failed: it must not be, unless they are tried again.
    TooFew,
}

impl Tally {
    /// Nobody has it yet. Masters that do not vote may be told of, and count for nothing.
    pub fn new(voters: BTreeSet<NodeId>) -> Tally {
        Tally { voters, have: BTreeSet::new(), failed: BTreeSet::new() }
    }

    /// It is durable there.
    pub fn has(&mut self, node: NodeId) {
        if self.voters.contains(&node) {
            self.have.insert(node);
        }
    }

    /// It is not, and will not be soon.
    pub fn failed(&mut self, node: NodeId) {
        if self.voters.contains(&node) {
            self.failed.insert(node);
        }
    }

    /// How many have it.
    pub fn count(&self) -> usize {
        self.have.len()
    }

    /// How many must have it.
    pub fn needed(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// How many there are.
    pub fn voters(&self) -> usize {
        self.voters.len()
    }

    /// What follows.
    pub fn verdict(&self) -> Verdict {
        let lost = self.failed.difference(&self.have).count();
        if self.have.len() >= self.needed() {
            Verdict::Enough
        } else if self.voters.len() - lost < self.needed() {
            Verdict::TooFew
        } else {
            Verdict::Waiting
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(voters: u64) -> Tally {
        Tally::new((1..=voters).map(NodeId).collect())
    }

    #[test]
    fn a_majority_is_enough_and_less_is_not() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let mut tally = tally(voters);
            for node in 1..needed {
                tally.has(NodeId(node));
                // Twice is not two.
                tally.has(NodeId(node));
            }
            assert_eq!((tally.verdict(), tally.needed() as u64), (Verdict::Waiting, needed));
            tally.has(NodeId(needed));
            assert_eq!(tally.verdict(), Verdict::Enough);
        }
    }

    #[test]
    fn too_few_are_left_when_a_majority_cannot_be_had() {
        let mut tally = tally(5);
        tally.failed(NodeId(1));
        tally.failed(NodeId(2));
        assert_eq!(tally.verdict(), Verdict::Waiting);
        tally.failed(NodeId(3));
        assert_eq!(tally.verdict(), Verdict::TooFew);
        // It came through after all.
        tally.has(NodeId(3));
        assert_eq!(tally.verdict(), Verdict::Waiting);
    }

    #[test]
    fn who_does_not_vote_counts_for_nothing() {
        let mut tally = tally(3);
        tally.has(NodeId(1));
        tally.has(NodeId(4));
        tally.failed(NodeId(5));
        assert_eq!((tally.verdict(), tally.count()), (Verdict::Waiting, 1));
        assert_eq!(Tally::new(BTreeSet::new()).verdict(), Verdict::TooFew);
    }
}
