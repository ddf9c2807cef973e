//! The cluster and its clock: what is to happen, in order of time, and the loop that lets it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use weir_master::{control::SessionId, node::PeerMessage};
use weir_proto::{
    agent::{AgentMessage, MasterMessage},
    digest::Digest,
    id::{LeaseId, NodeId, TaskId},
};
use weir_scheduler::state::ClusterState;

use super::{
    Counts, Fact, Report, Tracing, Variant,
    agents::AgentHost,
    clients::{Ask, Client, Reply},
    disk,
    faults::Fault,
    history::{CallId, History, NameTold},
    master::MasterHost,
    names::NameCall,
    network::Network,
    observer,
    peers::Peers,
    random::Random,
    workload,
};

/// Most events of one simulation: enough for every fault there is, and few enough for very many seeds.
const MAX_EVENTS: u64 = 8_000;
/// After so many events no fault begins, so that the rest is enough to heal.
const FAULTY_EVENTS: u64 = 2_000;
/// How long after the last fault everything must have ended, besides the work itself.
const PROGRESS_US: u64 = 60_000_000;
/// How many agents there are.
const AGENTS: usize = 2;

/// Something that is to happen.
pub(super) enum Happening {
    MasterStarts { master: usize },
    MasterTicks { boot: u64 },
    DiskSynced { boot: u64 },
    DiskReports { boot: u64, report: disk::Report },
    SnapshotEncoded { boot: u64, state: Box<ClusterState>, metadata: Vec<u8> },
    ToPeer { message: PeerMessage },
    PagesFetched { boot: u64, message: PeerMessage, pages: Vec<Digest> },
    PeerLost { boot: u64, peer: NodeId },
    ToMaster(SessionId, AgentMessage),
    ToAgent(SessionId, MasterMessage),
    MasterNotices(SessionId),
    AgentNotices(SessionId),
    AgentStarts(usize),
    AgentWakes { agent: usize, at_us: u64 },
    Dialled { agent: usize, incarnation: u64 },
    Prepared { agent: usize, incarnation: u64, lease: LeaseId },
    TasksEnd { agent: usize, incarnation: u64, at_us: u64 },
    ResultsTaken { agent: usize, incarnation: u64 },
    Measured { agent: usize, incarnation: u64 },
    Asked { boot: u64, job: usize, ask: Ask, call: CallId },
    ClientAsks { job: usize, ask: Ask },
    ClientHears { job: usize, reply: Reply, call: CallId },
    NameIsAsked,
    NameCallArrives { boot: u64, call: NameCall },
    NameTold { call: NameCall, told: NameTold },
    ClientReads,
    OperatorReplaces { master: usize, node: NodeId },
    Fault(Fault),
}

/// A whole cluster.
pub(super) struct World {
    pub(super) variant: Variant,
    pub(super) now_us: u64,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    /// Those that are or were masters, or may become some.
    pub(super) masters: Vec<MasterHost>,
    pub(super) peers: Peers,
    pub(super) agents: Vec<AgentHost>,
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    /// What all clients asked and were told.
    pub(super) history: History,
    /// How many of their calls are about names.
    pub(super) name_calls: u32,
    /// Tasks that run at most once and have begun.
    pub(super) begun_once: BTreeSet<TaskId>,
    /// Nothing goes wrong but with disks, and they are slow: then nobody loses the lead.
    pub(super) is_calm: bool,
    /// No fault begins after this time.
    pub(super) faults_end_us: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
}

/// What happened, hashed and printed as far as that is wanted.
pub(super) struct Trace {
    tracing: Tracing,
    hasher: blake3::Hasher,
}

impl Trace {
    pub(super) fn line(&mut self, now_us: u64, line: fmt::Arguments<'_>) {
        if self.tracing == Tracing::Off {
            return;
        }
        let line = format!("{:>5}.{:06} {line}\n", now_us / 1_000_000, now_us % 1_000_000);
        self.hasher.update(line.as_bytes());
        if self.tracing == Tracing::Print {
            print!("{line}");
        }
    }
}

/// Adds a line to the trace; its arguments are formatted only if somebody wants it.
macro_rules! trace {
    ($world:expr, $($line:tt)*) => {
        $world.trace.line($world.now_us, format_args!($($line)*))
    };
}
pub(super) use trace;

impl World {
    pub(super) fn new(seed: u64, variant: Variant, tracing: Tracing) -> World {
        let mut random = Random::new(seed);
        let faults_end_us = random.between(3_000_000, 10_000_000);
        let masters = MasterHost::cluster(&mut random);
        let are_few = masters.iter().filter(|master| master.identity.is_some()).count() <= 3;
        let plans = workload::plans(&mut random, faults_end_us * 4 / 5, are_few);
        let plans = plans.into_iter().map(Client::new).collect();
        let agents = (0..AGENTS).map(|number| AgentHost::new(number, &mut random)).collect();
        let mut world = World {
            variant,
            now_us: 0,
            trace: Trace { tracing, hasher: blake3::Hasher::new() },
            counts: Counts::default(),
            masters,
            peers: Peers::default(),
            agents,
            network: Network::default(),
            clients: plans,
            history: History::default(),
            name_calls: 0,
            begun_once: BTreeSet::new(),
            is_calm: false,
            faults_end_us,
            queue: BTreeMap::new(),
            scheduled: 0,
            random,
        };
        for master in 0..world.masters.len() {
            if world.masters[master].identity.is_some() {
                let start = world.random.mostly_short(0, 3_000_000);
                world.at(start, Happening::MasterStarts { master });
            }
        }
        for agent in 0..AGENTS {
            let start = world.random.between(0, 500_000);
            world.at(start, Happening::AgentStarts(agent));
        }
        for job in 0..world.clients.len() {
            world.at(
                world.clients[job].plan.submit_us,
                Happening::ClientAsks { job, ask: Ask::Submit },
            );
        }
        world.at(0, Happening::ClientReads);
        world.at(0, Happening::NameIsAsked);
        world.plan_faults();
        world
    }

    /// Runs until every job has ended after the last fault.
    ///
    /// # Panics
    /// When an invariant does not hold, or there is no progress.
    pub(super) fn run(mut self) -> Report {
        let work_us: u64 =
            self.clients.iter().map(|client| workload::work_us(&client.plan.spec)).sum();
        let deadline_us = self.faults_end_us + PROGRESS_US + 3 * work_us;
        let mut events = 0;
        while let Some(((at_us, _), happening)) = self.queue.pop_first() {
            self.now_us = at_us;
            events += 1;
            if events == FAULTY_EVENTS {
                self.faults_end_us = self.faults_end_us.min(at_us);
            }
            let may_be_over = matches!(happening, Happening::MasterTicks { .. });
            self.happens(happening);
            if may_be_over && at_us > self.faults_end_us && self.is_over() {
                break;
            }
            assert!(at_us <= deadline_us, "no progress: {}", self.what_is_stuck());
            assert!(events <= MAX_EVENTS, "goes round in circles: {}", self.what_is_stuck());
        }
        self.check_end();
        self.counts.add(Fact::LatePage, observer::late_pages());
        self.counts.add(Fact::LostTooOften, observer::lost_too_often());
        let (lost, returned) = observer::once();
        self.counts.add(Fact::LostOnce, lost);
        self.counts.add(Fact::ReturnedOnce, returned);
        self.counts.add(Fact::BegunOnce, self.begun_once.len() as u64);
        Report {
            events,
            virtual_us: self.now_us,
            counts: self.counts,
            trace: Digest(*self.trace.hasher.finalize().as_bytes()),
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::MasterStarts { master } => self.master_starts(master),
            Happening::MasterTicks { boot } => self.master_ticks(boot),
            Happening::DiskSynced { boot } => self.disk_synced(boot),
            Happening::DiskReports { boot, report } => self.disk_reports(boot, report),
            Happening::SnapshotEncoded { boot, state, metadata } => {
                self.snapshot_encoded(boot, &state, metadata);
            }
            Happening::ToPeer { message } => self.peer_receives(message),
            Happening::PagesFetched { boot, message, pages } => {
                self.pages_fetched(boot, message, &pages);
            }
            Happening::PeerLost { boot, peer } => self.peer_lost(boot, peer),
            Happening::ToMaster(session, message) => self.master_receives(session, message),
            Happening::ToAgent(session, message) => self.agent_receives(session, message),
            Happening::MasterNotices(session) => self.master_notices(session),
            Happening::AgentNotices(session) => self.agent_notices(session),
            Happening::AgentStarts(agent) => self.agent_starts(agent),
            Happening::AgentWakes { agent, at_us } => self.agent_wakes(agent, at_us),
            Happening::Dialled { agent, incarnation } => self.dialled(agent, incarnation),
            Happening::Prepared { agent, incarnation, lease } => {
                self.prepared(agent, incarnation, lease);
            }
            Happening::TasksEnd { agent, incarnation, at_us } => {
                self.tasks_end(agent, incarnation, at_us);
            }
            Happening::ResultsTaken { agent, incarnation } => {
                self.results_taken(agent, incarnation);
            }
            Happening::Measured { agent, incarnation } => self.measured(agent, incarnation),
            Happening::Asked { boot, job, ask, call } => self.asked(boot, job, ask, call),
            Happening::ClientAsks { job, ask } => self.client_asks(job, ask),
            Happening::ClientHears { job, reply, call } => self.client_hears(job, reply, call),
            Happening::NameIsAsked => self.name_is_asked(),
            Happening::NameCallArrives { boot, call } => self.name_call_arrives(boot, call),
            Happening::NameTold { call, told } => self.name_told(call, told),
            Happening::ClientReads => self.client_reads(),
            Happening::OperatorReplaces { master, node } => self.operator_replaces(master, node),
            Happening::Fault(fault) => self.strike(fault),
        }
    }

    /// Lets something happen after a time.
    pub(super) fn after(&mut self, delay_us: u64, happening: Happening) {
        self.at(self.now_us + delay_us, happening);
    }

    pub(super) fn at(&mut self, at_us: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at_us, self.scheduled), happening);
    }

    /// Whether faults still happen.
    pub(super) fn is_faulty(&self) -> bool {
        self.now_us < self.faults_end_us
    }

    /// Whether something that may go wrong by itself, once in so many times, does.
    pub(super) fn goes_wrong(&mut self, one_in: u64) -> bool {
        self.is_faulty() && !self.is_calm && self.random.one_in(one_in)
    }

    fn is_over(&self) -> bool {
        self.clients.iter().all(|client| client.is_content())
            && self.masters_are_idle()
            && self.masters.iter().all(|master| master.disk.damage.is_none())
            && self.agents.iter().all(AgentHost::is_idle)
            && self.is_every_speed_known()
    }

    fn is_every_speed_known(&self) -> bool {
        let Some(state) = self.leaders_state() else { return false };
        self.agents.iter().all(|agent| agent.is_speed_known_to(state))
    }

    fn what_is_stuck(&self) -> String {
        let clients = self.clients.iter().filter(|client| !client.is_content());
        let clients: Vec<String> = clients.map(|client| client.to_string()).collect();
        let agents: Vec<String> = self.agents.iter().map(|agent| agent.to_string()).collect();
        let masters: Vec<String> = self.masters.iter().map(ToString::to_string).collect();
        let (masters, agents) = (masters.join("; "), agents.join("; "));
        let speeds = if self.is_every_speed_known() { "known" } else { "unknown" };
        format!("{masters}; {agents}, their speeds {speeds}; clients wait for {clients:?}")
    }

    fn check_end(&mut self) {
        self.history.check();
        if self.is_calm {
            let leaders = self.peers.leaders();
            assert!(leaders <= 1, "slow disks cost {leaders} elections");
            self.counts.add(Fact::Calm, 1);
        }
        for master in 0..self.masters.len() {
            if !self.is_up_to_date(master) {
                continue;
            }
            let control = self.masters[master].control.as_ref().expect("it is up");
            observer::check_nothing_lost(control.state());
            for job in 0..self.clients.len() {
                self.read_all(master, job);
            }
        }
    }
}
