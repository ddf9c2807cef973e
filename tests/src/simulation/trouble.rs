//! What goes wrong with masters' disks: no space, errors, seconds for a sync, a log that is damaged
//! for good; and the operator who replaces a master whose log cannot be read any more.

use weir_master::{
    control::{Control, Event, MemberRequest, StartError},
    log::Recovered,
};
use weir_proto::id::NodeId;

use super::{
    Fact,
    clients::Question,
    master::MasterHost,
    world::{Happening, World, trace},
};

/// How long whoever starts masters waits when one does not start.
const START_AGAIN_US: u64 = 1_000_000;
/// How often an operator looks whether a damaged master is replaced.
const REPAIR_EVERY_US: u64 = 700_000;

/// What is wrong with a disk for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No space is left: a write fails, and nothing of it is there.
    Full,
    /// Nothing can be read; a write fails, and is there or not.
    Failing,
    /// A sync takes seconds.
    Slow,
}

/// What is wrong with a log for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file is no database any more: a page of it was torn.
    Unreadable,
    /// An entry is missing among others.
    Hole,
    /// An entry's bytes end too early.
    TornEntry,
    /// The snapshot's bytes end too early.
    TornSnapshot,
}

impl Damage {
    /// What is read of a log with this damage; nothing if it cannot be read at all.
    fn read(self, mut log: Recovered) -> Option<Recovered> {
        let middle = log.entries.len() / 2;
        match (self, &mut log.snapshot) {
            (Damage::Hole, _) if middle > 0 && middle + 1 < log.entries.len() => {
                log.entries.remove(middle);
            }
            (Damage::TornEntry, _) if middle > 0 => drop(log.entries[middle].bytes.pop()),
            (Damage::TornSnapshot, Some(snapshot)) => {
                snapshot.state.truncate(snapshot.state.len() - 1);
            }
            _ => return None,
        }
        Some(log)
    }
}

impl World {
    /// Something is wrong with a disk for a while.
    pub(super) fn disk_is_troubled(&mut self, master: usize, trouble: Trouble, for_us: u64) {
        self.masters[master].disk.trouble = Some((trouble, self.now_us + for_us));
        let fact = match trouble {
            Trouble::Full => Fact::FullDisk,
            Trouble::Failing => Fact::FailingDisk,
            Trouble::Slow => Fact::SlowDisk,
        };
        self.counts.add(fact, 1);
    }

    /// What is wrong with a master's disk now.
    pub(super) fn trouble(&self, master: usize) -> Option<Trouble> {
        let (trouble, until_us) = self.masters[master].disk.trouble?;
        // Whoever is responsible sees to it when the faults end.
        (self.is_faulty() && self.now_us < until_us).then_some(trouble)
    }

    /// A write failed: the process ends, for it cannot know what is durable, and is started again.
    pub(super) fn write_failed(&mut self, master: usize) {
        trace!(self, "machine {master} cannot write its log, and ends");
        self.counts.add(Fact::FailedWrite, 1);
        match self.trouble(master) {
            Some(Trouble::Full) => self.masters[master].disk.lose(),
            _ => drop(self.masters[master].disk.crash(&mut self.random)),
        }
        self.master_ends(master);
        self.after(START_AGAIN_US, Happening::MasterStarts { master });
    }

    /// What a master reads of its log at a start; nothing if it must not start.
    pub(super) fn read_log(&mut self, master: usize) -> Option<Recovered> {
        // Opening a log writes to it, which may go well in the last free space.
        let full = self.trouble(master) == Some(Trouble::Full) && self.random.one_in(2);
        if full || self.trouble(master) == Some(Trouble::Failing) {
            trace!(self, "machine {master} does not start from its disk");
            self.counts.add(Fact::RefusedStart, 1);
            self.after(START_AGAIN_US, Happening::MasterStarts { master });
            return None;
        }
        let host = &mut self.masters[master];
        let log = host.disk.recover();
        let Some(damage) = host.disk.damage else { return Some(log) };
        self.counts.add(Fact::RefusedDamage, 1);
        let identity = host.identity.expect("a spare has no log");
        if let Some(log) = damage.read(log) {
            let started = Control::new(identity, &log, 1, self.variant.apply());
            let refused: Option<StartError> = started.err();
            let why = refused.expect("a master does not start from a damaged log");
            trace!(self, "machine {master} does not start: {damage:?}, {why}");
        }
        None
    }

    /// A master dies, and its log cannot be read again. Only one may, of those that there were at
    /// first: a second one could have had what the first had acknowledged.
    pub(super) fn log_is_damaged(&mut self, master: usize, damage: Damage) {
        let Some(identity) = self.masters[master].identity else { return };
        trace!(self, "the log of {} is damaged: {damage:?}", identity.node);
        self.counts.add(Fact::DamagedLog, 1);
        self.master_crashes(master, 0);
        self.masters[master].disk.damage = Some(damage);
        self.after(REPAIR_EVERY_US, Happening::OperatorReplaces { master, node: identity.node });
    }

    /// An operator removes a master that does not start, and lets its machine join as another.
    pub(super) fn operator_replaces(&mut self, master: usize, node: NodeId) {
        let is_member = |state: &weir_scheduler::state::ClusterState| {
            state.members.contains_key(&node) || state.members.is_empty()
        };
        let leader = self.leader();
        match (leader, self.leaders_state().is_none_or(is_member)) {
            (Some(leader), true) => {
                let question = Question::Operation(Fact::Removed);
                self.ask(leader, question, |ticket| {
                    Event::ChangeMembers(ticket, MemberRequest::Remove(node))
                });
            }
            (Some(leader), false) => {
                if self.masters[master].identity.is_some_and(|identity| identity.node == node) {
                    trace!(self, "machine {master} gets an empty disk");
                    self.masters[master] = MasterHost::spare(&mut self.random);
                }
                if self.masters[master].identity.is_some() {
                    return;
                }
                self.add_master(leader, master);
            }
            (None, _) => {}
        }
        self.after(REPAIR_EVERY_US, Happening::OperatorReplaces { master, node });
    }
}
