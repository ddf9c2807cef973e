//! The master's shell in a simulation: [`Control`] with a simulated disk, clock and sessions, and
//! what must hold after each of its steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use weir_master::{
    control::{Action, Control, Event, SessionId, TICK_MS, Ticket},
    log::LogSnapshot,
};
use weir_proto::{
    agent::{AgentMessage, MasterMessage},
    command::Change,
    digest::Digest,
    id::{JobId, NodeId},
    range::{RangeSet, TaskRange},
    wire,
};
use weir_scheduler::{explain::explain, snapshot, state::ClusterState};

use super::{
    Fact, Variant,
    clients::Ask,
    disk::{Disk, Report},
    network::Way,
    observer,
    random::Random,
    world::{Happening, World, trace},
};

/// Where the master's clock begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Most proposals under way: some for each client and stage, and one for each page message that a slow
/// network delivers at once.
const MAX_PROPOSALS: usize = 256;
/// Most leases out: two agents of at most four cores, and no task takes less than a quarter.
const MAX_LEASES: usize = 32;
/// Most writes that are not durable.
const MAX_WRITES: usize = 256;

/// A master's machine: the process may come and go, the disk stays.
pub(super) struct MasterHost {
    pub(super) control: Option<Control>,
    /// This life of the process; 0 while it is down.
    pub(super) boot: u64,
    pub(super) clock_ahead_ms: u64,
    pub(super) disk: Disk,
    snapshot_entries: u64,
    /// Sessions that it may send in.
    sessions: BTreeSet<SessionId>,
    tickets: BTreeMap<Ticket, (usize, Ask)>,
    last_ticket: u64,
    pages: Pages,
    /// Whether this life has become leader.
    has_led: bool,
}

/// Pages between their commit and the next snapshot, and the store.
#[derive(Default)]
struct Pages {
    recent: BTreeMap<Digest, Vec<u8>>,
    store: BTreeMap<Digest, Vec<u8>>,
    /// Those that the snapshot under way makes superfluous among the recent.
    snapshot: Vec<Digest>,
}

impl MasterHost {
    pub(super) fn new(random: &mut Random) -> MasterHost {
        MasterHost {
            control: None,
            boot: 0,
            clock_ahead_ms: 0,
            disk: Disk::new(random),
            snapshot_entries: random.between(5, 120),
            sessions: BTreeSet::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            pages: Pages::default(),
            has_led: false,
        }
    }

    /// Nothing is under way, nothing is lent.
    pub(super) fn is_idle(&self) -> bool {
        self.control.as_ref().is_some_and(|control| {
            control.proposals() == 0
                && control.table().is_some_and(|table| table.leases().is_empty())
        })
    }

    /// The state, once it is as new as any that a client has seen.
    pub(super) fn readable(&self) -> Option<&ClusterState> {
        self.control.as_ref().filter(|control| control.table().is_some()).map(Control::state)
    }

    pub(super) fn page(&self, digest: Digest) -> Option<&[u8]> {
        let page = self.pages.recent.get(&digest).or_else(|| self.pages.store.get(&digest));
        page.map(|bytes| &bytes[..])
    }
}

impl fmt::Display for MasterHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(control) = &self.control else { return f.write_str("the master is down") };
        let Some(table) = control.table() else { return f.write_str("the master does not lead") };
        write!(f, "{} proposals, {} leases", control.proposals(), table.leases().len())?;
        for (id, queue) in table.stages() {
            let why = explain(control.state(), table, *id);
            write!(f, ", {id} waits: {:?} {why:?}", queue.waiting.ranges())?;
        }
        table.leases().iter().try_for_each(|(id, held)| {
            write!(f, ", {id} of {} with {}: {:?}", held.stage, held.agent, held.open.ranges())
        })
    }
}

impl World {
    fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.now_us / 1_000 + self.master.clock_ahead_ms
    }

    pub(super) fn master_starts(&mut self) {
        if self.master.control.is_some() {
            return;
        }
        let recovered = self.master.disk.recover();
        let boot = self.random.id();
        trace!(self, "master starts with {} entries", recovered.entries.len());
        let control = Control::new(NodeId(1), &recovered, boot, self.variant.apply());
        let mut control = control.expect("a master starts from its own log");
        control.snapshot_after(self.master.snapshot_entries);
        self.master.control = Some(control);
        self.master.boot = boot;
        self.master.has_led = false;
        self.after(0, Happening::MasterTicks { boot });
    }

    pub(super) fn master_crashes(&mut self, down_us: u64) {
        if self.master.control.take().is_none() {
            return;
        }
        let loss = self.master.disk.crash(&mut self.random);
        trace!(self, "master crashes, {loss:?}, back in {down_us} us");
        self.counts.add(Fact::MasterCrash, 1);
        self.counts.add(Fact::LostWrite, u64::from(loss.lost));
        self.counts.add(Fact::UnreportedWrite, u64::from(loss.unreported));
        self.master.boot = 0;
        self.master.pages.recent.clear();
        self.master.tickets.clear();
        self.master.sessions.clear();
        for agent in 0..self.agents.len() {
            self.connection_loses_master(agent);
        }
        self.after(down_us, Happening::MasterStarts);
    }

    pub(super) fn master_ticks(&mut self, boot: u64) {
        if boot != self.master.boot {
            return;
        }
        self.step_master(Event::Tick);
        if !self.is_faulty() {
            self.resume_all();
        }
        self.after(TICK_MS * 1_000, Happening::MasterTicks { boot });
    }

    pub(super) fn disk_reports(&mut self, boot: u64, report: Report) {
        if boot != self.master.boot {
            return;
        }
        trace!(self, "disk reports {report:?}");
        match report {
            Report::Written(number) => self.step_master(Event::Persisted(number)),
            Report::Snapshot(index) => {
                self.counts.add(Fact::Snapshot, 1);
                for digest in std::mem::take(&mut self.master.pages.snapshot) {
                    self.master.pages.recent.remove(&digest);
                }
                self.step_master(Event::SnapshotPersisted(index));
            }
        }
    }

    pub(super) fn snapshot_encoded(&mut self, boot: u64, state: &ClusterState, metadata: Vec<u8>) {
        if boot != self.master.boot {
            return;
        }
        if self.is_faulty() && self.random.one_in(8) {
            return self.step_master(Event::SnapshotFailed);
        }
        let pages = &mut self.master.pages;
        pages.store.extend(pages.recent.clone());
        pages.snapshot = pages.recent.keys().copied().collect();
        let (index, state) = (state.applied, snapshot::encode(state));
        self.step_master(Event::SnapshotEncoded(LogSnapshot { index, metadata, state }));
    }

    pub(super) fn master_receives(&mut self, session: SessionId, message: AgentMessage) {
        if self.network.arrives(session, Way::ToMaster) && self.master.control.is_some() {
            trace!(self, "master hears {session:?} {message:?}");
            self.step_master(Event::FromAgent(session, message));
        }
    }

    pub(super) fn master_notices(&mut self, session: SessionId) {
        trace!(self, "master notices the end of {session:?}");
        self.network.noticed(session, Way::ToMaster);
        self.master.sessions.remove(&session);
        self.close_to_agent(session);
        self.step_master(Event::AgentClosed(session));
    }

    /// An agent has dialled the master, which is up.
    pub(super) fn session_opens(&mut self, session: SessionId) {
        self.master.sessions.insert(session);
    }

    /// A client's request arrives.
    pub(super) fn asked(&mut self, boot: u64, job: usize, ask: Ask) {
        if boot != self.master.boot {
            return;
        }
        self.master.last_ticket += 1;
        let ticket = Ticket(self.master.last_ticket);
        self.master.tickets.insert(ticket, (job, ask));
        trace!(self, "master is asked by client {job} for {ask:?}");
        let client = &self.clients[job];
        self.step_master(match (ask, client.told) {
            (Ask::Cancel, Some(id)) => Event::Client(ticket, Change::CancelJob(id)),
            _ => {
                let (request, spec) = (client.plan.request, client.plan.spec.clone());
                Event::Client(ticket, Change::SubmitJob { request, spec })
            }
        });
    }

    /// Somebody wants an agent to leave, or to go on after all; the answer is not waited for.
    pub(super) fn drain(&mut self, agent: usize, draining: bool) {
        self.master.last_ticket += 1;
        let change = Change::DrainAgent { agent: self.agents[agent].id, draining };
        self.step_master(Event::Client(Ticket(self.master.last_ticket), change));
    }

    /// Somebody lets the last tasks of an active job stand still, or go on; 0 means all.
    pub(super) fn pause(&mut self, most: u32, paused: bool) {
        let Some(state) = self.master.readable() else { return };
        let active: Vec<JobId> = state.active.iter().copied().collect();
        if active.is_empty() {
            return;
        }
        let job = self.random.pick(&active);
        let count = self.master.readable().map_or(0, |state| state.jobs[&job].tasks());
        let tasks = match most {
            0 => RangeSet::new(),
            most => RangeSet::from_iter([TaskRange::new(count.saturating_sub(most), count)]),
        };
        self.master.last_ticket += 1;
        let change = Change::PauseTasks { job, tasks, paused };
        self.step_master(Event::Client(Ticket(self.master.last_ticket), change));
    }

    /// Whoever paused a job lets it go on in the end.
    fn resume_all(&mut self) {
        let Some(state) = self.master.readable() else { return };
        let paused = |job: &JobId| state.jobs[job].stages.iter().any(|s| !s.paused.is_empty());
        let paused: Vec<JobId> = state.active.iter().copied().filter(paused).collect();
        for job in paused {
            self.master.last_ticket += 1;
            let change = Change::PauseTasks { job, tasks: RangeSet::new(), paused: false };
            self.step_master(Event::Client(Ticket(self.master.last_ticket), change));
        }
    }

    fn step_master(&mut self, event: Event) {
        let now_ms = self.unix_ms();
        let Some(control) = &mut self.master.control else { return };
        let actions = control.step(event, now_ms);
        // Before anybody is told of a page, it can be read.
        for action in &actions {
            if let Action::KeepPage { digest, bytes, .. } = action {
                self.master.pages.recent.insert(*digest, bytes.clone());
            }
        }
        for action in actions {
            self.do_for_master(action);
        }
        self.begin_sync();
        self.check_master();
    }

    fn do_for_master(&mut self, action: Action) {
        match action {
            Action::Persist(number, write) => {
                self.master.disk.write(number, write);
                if self.variant == Variant::AcknowledgeBeforeSync {
                    self.disk_will_report(Report::Written(number));
                }
            }
            Action::PersistSnapshot(snapshot) => self.master.disk.snapshot(snapshot),
            Action::EncodeSnapshot { state, metadata } => {
                let (boot, state) = (self.master.boot, Box::new(state));
                let delay_us = self.random.between(10, 50_000);
                self.after(delay_us, Happening::SnapshotEncoded { boot, state, metadata });
            }
            Action::Answer(ticket, answer) => {
                if let Some((job, ask)) = self.master.tickets.remove(&ticket) {
                    trace!(self, "master answers client {job}: {ask:?} {answer:?}");
                    self.answer_client(job, ask, answer);
                    self.maybe_crash_after_promise();
                }
            }
            Action::ToAgent(session, message) => self.send_to_agent(session, message),
            Action::CloseSession(session, why) => {
                trace!(self, "master closes {session:?}: {why}");
                self.master.sessions.remove(&session);
                self.close_to_agent(session);
            }
            Action::Halt(malformed) => panic!("the master halts: {malformed}"),
            Action::ToPeer(..) => panic!("there is no peer"),
            Action::KeepPage { .. }
            | Action::JobChanged(_)
            | Action::Live(_)
            | Action::Measured(_) => {}
        }
    }

    fn send_to_agent(&mut self, session: SessionId, message: MasterMessage) {
        if !self.master.sessions.contains(&session) {
            return;
        }
        let parsed = MasterMessage::try_from(wire::MasterMessage::from(message.clone()));
        assert_eq!(parsed.as_ref(), Ok(&message), "what a master sends is a message");
        let is_stored = matches!(message, MasterMessage::PagesStored(_));
        let repeat = matches!(message, MasterMessage::Grants(_))
            && self.is_faulty()
            && self.random.one_in(20);
        // Much happens to an agent that waits for its welcome.
        let late = matches!(message, MasterMessage::Welcome { .. })
            && self.is_faulty()
            && self.random.one_in(3);
        let delay_us =
            if late { self.random.between(1_000, 800_000) } else { self.message_delay_us() };
        for delay_us in [delay_us, 0].into_iter().take(1 + usize::from(repeat)) {
            if let Some(at_us) = self.network.send(session, Way::ToAgent, self.now_us, delay_us) {
                self.at(at_us, Happening::ToAgent(session, message.clone()));
            }
        }
        self.counts.add(Fact::RepeatedGrants, u64::from(repeat));
        if is_stored {
            self.maybe_crash_after_promise();
        }
    }

    fn check_master(&mut self) {
        let Some(control) = &self.master.control else { return };
        assert!(control.proposals() <= MAX_PROPOSALS, "{} proposals", control.proposals());
        assert!(self.master.disk.waiting() <= MAX_WRITES, "writes pile up");
        let Some(table) = control.table() else { return };
        table.check_invariants(control.state());
        assert!(table.leases().len() <= MAX_LEASES, "{} leases", table.leases().len());
        if !std::mem::replace(&mut self.master.has_led, true) {
            trace!(self, "master leads after applying {}", control.state().applied);
            observer::check_nothing_lost(control.state());
            self.clients.iter().for_each(|client| client.check_job(control.state()));
        }
    }
}
