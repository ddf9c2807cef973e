//! A whole cluster in one thread: one, three or five masters, two agents and some clients, with
//! clocks, disks and a network that a seed decides. Faults strike, then it heals, and every job must end.
//!
//! What is simulated is the shells; [`weir_master::control`] and [`weir_agent::session`] are the
//! real ones. After every step the invariants are checked, and in the end what clients were told; a
//! failing seed replays exactly. The store's own faults are left out.

mod random;

mod workload;

mod disk;

mod network;

mod executor;

mod observer;

mod linearizable;

mod history;

mod broken;

mod world;

mod master;

mod peers;

mod operations;

mod agents;

mod clients;

mod names;

mod faults;

mod trouble;

mod runner;

use std::collections::BTreeMap;

use weir_proto::digest::Digest;

pub use runner::{Failure, Total, first_failure, replay, run};

/// Which cluster is simulated: the real one, or one broken on purpose to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As it is built.
    Correct,
    /// The disk says that a write is durable before it is.
    AcknowledgeBeforeSync,
    /// A page that comes again counts again.
    ApplyPagesTwice,
    /// A task's later result replaces its first.
    OverwriteResults,
    /// Who has tasks that run at most once is forgotten.
    ForgetGrants,
    /// A master's word whom it votes for is not written down.
    ForgetVotes,
    /// Any master shows what it knows, and says that this is all.
    StaleReads,
    /// A snapshot takes the place of the whole log, term and vote included.
    SnapshotWithoutHardState,
}

/// What is kept of what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing.
    Off,
    /// The digest of all lines.
    Hash,
    /// Every line, on stdout, and the digest.
    Print,
}

/// A simulation that found nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many things happened.
    pub events: u64,
    /// How long it took on the cluster's clock, in microseconds.
    pub virtual_us: u64,
    /// What happened how often.
    pub counts: Counts,
    /// The digest of the trace; of nothing when it was off.
    pub trace: Digest,
}

/// What a simulation is for: one in which some of these never happen proves little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// A master crashed.
    MasterCrash,
    /// It lost writes that were not durable.
    LostWrite,
    /// It kept writes that nobody had reported.
    UnreportedWrite,
    /// An agent crashed.
    AgentCrash,
    /// A task took its agent with it.
    Poison,
    /// A connection broke by itself.
    BrokenConnection,
    /// An agent was told to stop, and left.
    Left,
    /// An agent was drained, and left.
    Drained,
    /// A task that ran was paused.
    Paused,
    /// An agent that had nothing to do measured its machine.
    Measured,
    /// It had to stop, for it got tasks.
    MeasuredInVain,
    /// Tasks were recalled for an agent that had nothing to do.
    Recalled,
    /// An agent could not reach the master for a while.
    CutOff,
    /// The master's clock jumped.
    ClockJump,
    /// A master's disk had no space left.
    FullDisk,
    /// It failed.
    FailingDisk,
    /// It took seconds for a sync.
    SlowDisk,
    /// A write failed, and the master ended.
    FailedWrite,
    /// A master did not start, for its disk could not be read.
    RefusedStart,
    /// A master's log was damaged for good.
    DamagedLog,
    /// It did not start from it.
    RefusedDamage,
    /// Nothing went wrong but slow disks, and nobody lost the lead.
    Calm,
    /// A snapshot became durable.
    Snapshot,
    /// A message with pages came twice.
    RepeatedPages,
    /// A message with grants came twice.
    RepeatedGrants,
    /// A page came when all its tasks had results.
    LatePage,
    /// An agent could not run a task.
    Returned,
    /// A request was sent again after its answer.
    ResentRequest,
    /// A job was cancelled.
    Cancelled,
    /// A task ended because it had lost too many agents.
    LostTooOften,
    /// A task that runs at most once began.
    BegunOnce,
    /// One ended because its agent was lost.
    LostOnce,
    /// One went back unbegun.
    ReturnedOnce,
    /// A leader lent tasks before it had heard of all agents that its predecessor knew.
    LentEarly,
    /// A page outlived its agent's process, and brought results.
    KeptPage,
    /// A master took the lead from another.
    NewLeader,
    /// Masters could not reach each other for a while.
    Parted,
    /// A message between masters was lost.
    LostPeerMessage,
    /// A master's state came as a snapshot of another.
    Installed,
    /// A master joined.
    Joined,
    /// One that had joined votes.
    Promoted,
    /// A master was removed.
    Removed,
    /// The lead was handed over.
    Transferred,
    /// A client read, and saw all it had to.
    Read,
    /// The same, of a master that does not lead.
    FollowerRead,
    /// A name was pointed somewhere.
    NameSet,
    /// It was not, for it was not as expected.
    NameNotSet,
    /// Somebody looked where a name points.
    NameRead,
}

impl Fact {
    /// All of them.
    pub const ALL: [Fact; 48] = [
        Fact::MasterCrash,
        Fact::LostWrite,
        Fact::UnreportedWrite,
        Fact::AgentCrash,
        Fact::Poison,
        Fact::BrokenConnection,
        Fact::Left,
        Fact::Drained,
        Fact::Paused,
        Fact::Measured,
        Fact::MeasuredInVain,
        Fact::Recalled,
        Fact::CutOff,
        Fact::ClockJump,
        Fact::FullDisk,
        Fact::FailingDisk,
        Fact::SlowDisk,
        Fact::FailedWrite,
        Fact::RefusedStart,
        Fact::DamagedLog,
        Fact::RefusedDamage,
        Fact::Calm,
        Fact::Snapshot,
        Fact::RepeatedPages,
        Fact::RepeatedGrants,
        Fact::LatePage,
        Fact::Returned,
        Fact::ResentRequest,
        Fact::Cancelled,
        Fact::LostTooOften,
        Fact::BegunOnce,
        Fact::LostOnce,
        Fact::ReturnedOnce,
        Fact::LentEarly,
        Fact::KeptPage,
        Fact::NewLeader,
        Fact::Parted,
        Fact::LostPeerMessage,
        Fact::Installed,
        Fact::Joined,
        Fact::Promoted,
        Fact::Removed,
        Fact::Transferred,
        Fact::Read,
        Fact::FollowerRead,
        Fact::NameSet,
        Fact::NameNotSet,
        Fact::NameRead,
    ];
}

/// How often each fact was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Fact, u64>);

impl Counts {
    /// How often this was seen.
    pub fn of(&self, fact: Fact) -> u64 {
        self.0.get(&fact).copied().unwrap_or(0)
    }

    fn add(&mut self, fact: Fact, times: u64) {
        *self.0.entry(fact).or_default() += times;
    }

    fn add_all(&mut self, other: &Counts) {
        other.0.iter().for_each(|(fact, times)| self.add(*fact, *times));
    }
}
