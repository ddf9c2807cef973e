//! The agent's side of its session with the leader, as a step without I/O.
//!
//! Stop 8 of a task's way begins here (leases come in) and stop 11 (pages go out) ends here. What
//! runs is the executor's; this decides what to run, what to report, and what to say again after a
//! broken connection. The link feeds it from a socket, a simulation from a seed.

mod pages;
mod speed;
mod stay;

use std::collections::BTreeMap;

use weir_proto::{
    agent::{AgentDescription, AgentMessage, LiveChunk, MasterMessage, Precompiled},
    id::{ClusterId, LeaseId, Namespace, StageId},
    lease::{Lease, LeaseMarks, Preparing},
    limits::Resources,
    page::TaskResult,
    range::{RangeSet, TaskRange},
};

pub use self::speed::Recalibration;
use self::{
    pages::{PAGE_DELAY_MS, Unstored},
    speed::Speed,
    stay::Stay,
};
use crate::{
    admission::{Refusal, Taken, admit, check_profile},
    executor::{End, Finished},
    modules::ModuleKey,
};

/// Wait before the first and before later attempts to reach a master.
const RECONNECT_MS: u64 = 100;
const MAX_RECONNECT_MS: u64 = 3_000;
/// Heartbeats until the leader says how often it wants them.
const DEFAULT_HEARTBEAT_MS: u64 = 1_000;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Time passed; see [`Session::next_wakeup_ms`].
    Tick,
    /// A stream to a master is open.
    Connected,
    /// The stream broke, or could not be opened.
    Disconnected,
    /// A master says something.
    Received(MasterMessage),
    /// Tasks ended.
    Finished(Vec<Finished>),
    /// Running tasks wrote something.
    Live(Vec<LiveChunk>),
    /// Tasks of leases are no longer queued, as [`Action::Withdraw`] or [`Action::Pause`] wanted.
    Withdrawn(Vec<(LeaseId, RangeSet)>),
    /// The agent is to stop: whatever has not ended goes back.
    Leave,
    /// Something came of a module that was to be compiled ahead of tasks.
    Precompiled(ModuleKey, Precompiled),
    /// What [`Action::Calibrate`] measured; none if nothing came of it.
    Calibrated(Option<u64>),
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Open a stream to a master.
    Connect,
    /// Close it: whoever answered is no leader any more.
    Disconnect,
    /// Send on the open stream.
    Send(AgentMessage),
    /// Run these tasks.
    Run(Box<Lease>),
    /// Forget this lease; whatever still runs of it is not wanted.
    Stop(LeaseId),
    /// Take these tasks of a lease back out, as far as they have not begun, and tell which that were.
    Withdraw(LeaseId, RangeSet),
    /// Let these tasks of a lease stand still, and no others. Take back those that have not begun, and
    /// tell which these are.
    Pause(LeaseId, RangeSet),
    /// Let a page outlive this process.
    Keep {
        /// Its number.
        seq: u64,
        /// Where its tasks came from.
        cluster: ClusterId,
        /// Its bytes.
        page: Vec<u8>,
    },
    /// Nobody needs this page any more, which was kept.
    Forget(u64),
    /// Nothing is left to do: end.
    End,
    /// Compile this module when nobody who has tasks wants to compile.
    Precompile(Namespace, ModuleKey),
    /// Measure this machine's speed, off the executor's workers, and tell what came of it.
    Calibrate,
    /// Stop measuring: there is work.
    StopCalibrating,
}

/// A session, over all its connections.
#[derive(Debug)]
pub struct Session {
    agent: AgentDescription,
    link: Link,
    /// The cluster, and the newest term in which one of its leaders welcomed us.
    leader: Option<(ClusterId, u64)>,
    leases: BTreeMap<LeaseId, HeldLease>,
    /// Pages that no leader has said are stored, by `seq`.
    unstored: BTreeMap<u64, Unstored>,
    /// The same of an earlier life.
    earlier: BTreeMap<u64, (ClusterId, Vec<u8>)>,
    last_seq: u64,
    /// How many connections this life has had.
    connections: u64,
    /// What it stopped although it had begun, to be told when it leaves.
    abandoned: Vec<(LeaseId, RangeSet)>,
    /// The newest lease of tasks that run at most once.
    last_once: Option<LeaseId>,
    /// Tasks to give back, in runs, of which the leader has not been told.
    returned: Vec<Returned>,
    /// Tasks that run, as the executor last told.
    running: Vec<(LeaseId, u32)>,
    /// What has to be done before tasks of leases can run, as it told.
    preparing: BTreeMap<LeaseId, Preparing>,
    heartbeat_ms: u64,
    stay: Stay,
    speed: Speed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// No stream; the next attempt is due at a time.
    Down { retry_ms: u64, failures: u32 },
    /// An attempt is under way, or a hello is not answered.
    Opening { failures: u32 },
    /// The leader welcomed us; the next heartbeat is due at a time.
    Up { heartbeat_ms: u64 },
}

#[derive(Debug)]
struct HeldLease {
    stage: StageId,
    slots: u32,
    /// What each running task takes.
    each: Resources,
    /// Whether its tasks run at most once.
    once: bool,
    /// Whether they are run again when they fail.
    retries: bool,
    /// Whether they may do more than compute.
    impure: bool,
    /// Tasks without a stored result.
    open: RangeSet,
    /// Tasks that have not ended.
    unfinished: RangeSet,
    /// Those that stand still.
    paused: RangeSet,
    /// Results that are in no page yet.
    results: BTreeMap<u32, TaskResult>,
    results_bytes: usize,
    /// When the oldest of them came.
    oldest_ms: u64,
    finished: u64,
    wall_us: u64,
}

#[derive(Debug)]
struct Returned {
    lease: LeaseId,
    range: TaskRange,
    /// None where the leader wants them back.
    reason: Option<String>,
}

impl Session {
    /// A session of an agent that holds nothing but pages of an earlier life, which are numbered from
    /// 1. The first [`Event::Tick`] connects it.
    pub fn new(
        agent: AgentDescription,
        recalibration: Recalibration,
        kept: Vec<(ClusterId, Vec<u8>)>,
    ) -> Session {
        let last_seq = kept.len() as u64;
        Session {
            agent,
            link: Link::Down { retry_ms: 0, failures: 0 },
            leader: None,
            leases: BTreeMap::new(),
            unstored: BTreeMap::new(),
            earlier: (1..).zip(kept).collect(),
            last_seq,
            abandoned: Vec::new(),
            connections: 0,
            last_once: None,
            returned: Vec::new(),
            running: Vec::new(),
            preparing: BTreeMap::new(),
            heartbeat_ms: DEFAULT_HEARTBEAT_MS,
            stay: Stay::Working,
            speed: Speed::new(recalibration),
        }
    }

    /// Something happened; returns what is to be done. `running` are the tasks that run now;
    /// `now_ms` is any clock that does not go back.
    pub fn step(&mut self, event: Event, running: Vec<(LeaseId, u32)>, now_ms: u64) -> Vec<Action> {
        self.running = running;
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Connected => {
                // A hello tells what is held, and so what is not.
                self.returned.clear();
                self.connections += 1;
                self.send_earlier(&mut actions);
                actions.push(Action::Send(self.hello()));
            }
            Event::Disconnected => self.disconnected(now_ms),
            Event::Received(message) => self.receive(message, now_ms, &mut actions),
            Event::Finished(ended) => {
                for ended in ended {
                    self.finished(ended, now_ms, &mut actions);
                }
            }
            Event::Live(chunks) => {
                if self.is_up() {
                    actions.push(Action::Send(AgentMessage::Live(chunks)));
                }
            }
            Event::Withdrawn(withdrawn) => {
                for (lease, tasks) in withdrawn {
                    self.hand_back(lease, &tasks, &mut actions);
                }
            }
            Event::Leave => self.leave(now_ms, &mut actions),
            Event::Calibrated(figure) => self.calibrated(figure, now_ms, &mut actions),
            Event::Precompiled(module, came) => {
                self.speed.compiled(module);
                // A leader that has not heard it asks again.
                if self.is_up() {
                    let ModuleKey { digest: module, metering } = module;
                    let told = AgentMessage::Precompiled { module, metering, came };
                    actions.push(Action::Send(told));
                }
            }
        }
        self.send_returned(&mut actions);
        self.send_due_pages(now_ms, &mut actions);
        self.keep_in_touch(now_ms, &mut actions);
        self.say_goodbye(now_ms, &mut actions);
        self.keep_calibrated(now_ms, &mut actions);
        actions
    }

    /// What has to be done before tasks of leases can run; told before a step.
    pub fn prepares(&mut self, preparing: impl IntoIterator<Item = (LeaseId, Preparing)>) {
        self.preparing = preparing.into_iter().collect();
    }

    /// When the next [`Event::Tick`] is due at the latest.
    pub fn next_wakeup_ms(&self) -> Option<u64> {
        let link = match self.link {
            Link::Down { retry_ms, .. } => Some(retry_ms),
            Link::Opening { .. } => None,
            Link::Up { heartbeat_ms } => Some(heartbeat_ms),
        };
        let leaving = match self.stay {
            Stay::Working | Stay::Draining => None,
            Stay::Leaving { until_ms } | Stay::Left { until_ms } => Some(until_ms),
        };
        let waiting = self.leases.values().filter(|lease| !lease.results.is_empty());
        link.into_iter()
            .chain(leaving)
            .chain(self.speed.due_ms())
            .chain(waiting.map(|lease| lease.oldest_ms + PAGE_DELAY_MS))
            .min()
    }

    /// Leases held; for tests and the status of the agent.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    fn hello(&self) -> AgentMessage {
        let (agent, connection) = (self.agent.clone(), self.connections);
        AgentMessage::Hello { agent, held: self.marks(|_| true), connection }
    }

    fn disconnected(&mut self, now_ms: u64) {
        let failures = match self.link {
            Link::Down { failures, .. } => failures,
            Link::Opening { failures } => failures + 1,
            Link::Up { .. } => 0,
        };
        let wait = (RECONNECT_MS << failures.min(10)).min(MAX_RECONNECT_MS);
        // Agents of one master do not all come back in the same millisecond.
        let jitter = self.agent.incarnation.0 % (wait / 4 + 1);
        self.link = Link::Down { retry_ms: now_ms + wait + jitter, failures };
    }

    fn receive(&mut self, message: MasterMessage, now_ms: u64, actions: &mut Vec<Action>) {
        match message {
            MasterMessage::Drain(draining) => self.drain(draining, actions),
            MasterMessage::Recall(leases) => {
                let known = leases.into_iter().filter(|(id, _)| self.leases.contains_key(id));
                actions.extend(known.map(|(id, tasks)| Action::Withdraw(id, tasks)));
            }
            MasterMessage::Pause(leases) => {
                for (id, tasks) in leases {
                    if let Some(lease) = self.leases.get_mut(&id) {
                        lease.paused = tasks.clone();
                        actions.push(Action::Pause(id, tasks));
                    }
                }
            }
            MasterMessage::Welcome { cluster, term, .. } if self.is_deposed(cluster, term) => {
                self.disconnected(now_ms);
                actions.push(Action::Disconnect);
            }
            MasterMessage::Welcome { cluster, heartbeat_ms, term } => {
                if self.leader.is_some_and(|(known, _)| known != cluster) {
                    // Another one counts its leases anew.
                    self.last_once = None;
                }
                self.leader = Some((cluster, term));
                self.heartbeat_ms = heartbeat_ms.max(1);
                self.link = Link::Up { heartbeat_ms: now_ms + self.heartbeat_ms };
                self.say_stopping(actions);
                self.send_unstored(actions);
            }
            MasterMessage::Grants(leases) => {
                for lease in leases {
                    self.granted(lease, actions);
                }
            }
            MasterMessage::PagesStored(seqs) => {
                for seq in seqs {
                    self.stored(seq, actions);
                }
            }
            MasterMessage::Precompile { namespace, module, metering } => {
                let module = ModuleKey { digest: module, metering };
                self.speed.compiles(module);
                actions.push(Action::Precompile(namespace, module));
            }
            MasterMessage::Revoke(leases) => {
                for lease in leases {
                    self.forget_pages(lease, actions);
                    if self.leases.remove(&lease).is_some() {
                        actions.push(Action::Stop(lease));
                    }
                }
            }
        }
    }

    /// Whether a later leader of the same cluster has welcomed us. One that does not know yet would
    /// lend what others run already, and revoke what its successor lent.
    fn is_deposed(&self, cluster: ClusterId, term: u64) -> bool {
        self.leader.is_some_and(|(known, newest)| known == cluster && term < newest)
    }

    fn granted(&mut self, lease: Lease, actions: &mut Vec<Action>) {
        // A repeated grant must not run again what has ended.
        let known = self.leases.get(&lease.id).map(|held| held.open.within(lease.range));
        let mut new: RangeSet = [lease.range].into_iter().collect();
        new.remove_all(&known.unwrap_or_default());
        if lease.spec.once {
            // It is granted at one time, whole: whatever is no longer here has begun, or went back.
            if self.last_once >= Some(lease.id) {
                return;
            }
            self.last_once = Some(lease.id);
        }
        if self.stay != Stay::Working {
            for range in new.ranges() {
                self.give_back(lease.id, *range, None);
            }
            return;
        }
        if let Err(refusal) = self.admit(&lease, &new) {
            for range in new.ranges() {
                self.give_back(lease.id, *range, Some(refusal.to_string()));
            }
            return;
        }
        let held = self.leases.entry(lease.id).or_insert_with(|| HeldLease::of(&lease));
        held.open.insert_all(&new);
        held.unfinished.insert_all(&new);
        // What was admitted is what counts, whatever a later grant of the same lease says.
        let slots = held.slots;
        for range in new.ranges() {
            actions.push(Action::Run(Box::new(Lease { range: *range, slots, ..lease.clone() })));
        }
    }

    /// Whether a lease fits with these tasks, beside all others.
    fn admit(&self, lease: &Lease, new: &RangeSet) -> Result<(), Refusal> {
        if new.is_empty() {
            return Ok(());
        }
        check_profile(&self.agent, lease)?;
        let newest = self.leader.map_or(0, |(_, term)| term);
        if lease.id.term > newest {
            return Err(Refusal::Term { wanted: lease.id.term, newest });
        }
        let others = self.leases.iter().filter(|(id, _)| **id != lease.id);
        let others = others.map(|(_, held)| held.taken(0));
        let of_lease = self.leases.get(&lease.id);
        if let Some(held) = of_lease.filter(|held| held.stage != lease.stage) {
            return Err(Refusal::Stage { wanted: lease.stage, has: held.stage });
        }
        let wanted = of_lease
            .map_or_else(|| HeldLease::of(lease).taken(new.len()), |held| held.taken(new.len()));
        admit(&self.agent, others, wanted)
    }

    fn end_if_empty(&mut self, id: LeaseId, actions: &mut Vec<Action>) {
        if self.leases.get(&id).is_some_and(|lease| lease.open.is_empty()) {
            self.leases.remove(&id);
            actions.push(Action::Stop(id));
        }
    }

    fn finished(&mut self, ended: Finished, now_ms: u64, actions: &mut Vec<Action>) {
        let Finished { lease: id, task, end } = ended;
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if !lease.unfinished.contains(task.index) {
            return;
        }
        let range = TaskRange::single(task.index);
        lease.unfinished.remove(range);
        match end {
            End::Result(result) => {
                if lease.results.is_empty() {
                    lease.oldest_ms = now_ms;
                }
                lease.finished += 1;
                lease.wall_us += result.usage.wall_us;
                lease.results_bytes += result.encoded_size_hint();
                lease.results.insert(task.index, result);
            }
            End::CannotRun { reason } => {
                lease.open.remove(range);
                self.give_back(id, range, Some(reason));
                self.end_if_empty(id, actions);
            }
        }
    }

    /// A lease whose module cannot be had comes back as a whole: as one range, not task by task.
    fn give_back(&mut self, lease: LeaseId, range: TaskRange, reason: Option<String>) {
        match self.returned.last_mut() {
            Some(last)
                if last.lease == lease
                    && last.range.end == range.start
                    && last.reason == reason =>
            {
                last.range.end = range.end;
            }
            _ => self.returned.push(Returned { lease, range, reason }),
        }
    }

    /// Without a welcome the leader learns it from the next hello, or after this one's answer.
    fn send_returned(&mut self, actions: &mut Vec<Action>) {
        if !self.is_up() {
            return;
        }
        for Returned { lease, range, reason } in self.returned.drain(..) {
            actions.push(Action::Send(AgentMessage::Returned { lease, range, reason }));
        }
    }

    fn marks(&self, wanted: impl Fn(LeaseId) -> bool) -> Vec<LeaseMarks> {
        let leases = self.leases.iter().filter(|(id, _)| wanted(**id));
        leases
            .map(|(id, lease)| {
                let running = self.running.iter().filter(|(held, _)| held == id);
                let started = running.map(|(_, index)| *index);
                LeaseMarks {
                    id: *id,
                    stage: lease.stage,
                    slots: lease.slots,
                    open: lease.open.clone(),
                    started: started.filter(|index| lease.open.contains(*index)).collect(),
                    paused: lease.standing_still(),
                    mean_task_us: lease.wall_us.checked_div(lease.finished).unwrap_or(0),
                    preparing: self.preparing.get(id).copied(),
                }
            })
            .collect()
    }

    /// Connects when that is due, and gives signs of life.
    fn keep_in_touch(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        match self.link {
            Link::Down { retry_ms, failures } if now_ms >= retry_ms => {
                self.link = Link::Opening { failures };
                actions.push(Action::Connect);
            }
            Link::Up { heartbeat_ms } if now_ms >= heartbeat_ms => {
                self.link = Link::Up { heartbeat_ms: now_ms + self.heartbeat_ms };
                actions.push(Action::Send(AgentMessage::Heartbeat(self.marks(|_| true))));
            }
            Link::Down { .. } | Link::Opening { .. } | Link::Up { .. } => {}
        }
    }
}

impl HeldLease {
    fn of(lease: &Lease) -> HeldLease {
        HeldLease {
            stage: lease.stage,
            slots: lease.slots,
            each: lease.spec.resources.clone(),
            once: lease.spec.once,
            retries: lease.spec.retries > 0,
            impure: !lease.spec.is_pure(),
            open: RangeSet::new(),
            unfinished: RangeSet::new(),
            paused: RangeSet::new(),
            results: BTreeMap::new(),
            results_bytes: 0,
            oldest_ms: 0,
            finished: 0,
            wall_us: 0,
        }
    }

    /// What it takes with so many tasks more.
    fn taken(&self, more: u32) -> Taken {
        Taken {
            each: self.each.clone(),
            slots: self.slots,
            tasks: self.unfinished.len() + more,
            paused: self.standing_still().len(),
        }
    }

    /// Tasks that stand still, as far as they are still here.
    fn standing_still(&self) -> RangeSet {
        self.unfinished.intersection(&self.paused)
    }
}

#[cfg(test)]
mod tests;
