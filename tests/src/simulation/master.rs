//! The masters' shells in a simulation: [`Control`] with a simulated disk, clock and sessions, and
//! what must hold after each of its steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use weir_master::{
    control::{Action, Answer, Control, Event, Introduction, SessionId, TICK_MS, Ticket},
    log::{LogSnapshot, LogWrite},
    node::begin,
};
use weir_proto::{
    agent::{AgentMessage, MasterMessage},
    command::Change,
    digest::Digest,
    id::{ClusterId, NodeId},
    lease::Lease,
    wire,
};
use weir_scheduler::{explain::explain, members::Identity, snapshot, state::ClusterState};

use super::{
    Fact, Variant,
    clients::{Ask, Question},
    disk::{Disk, Report},
    history::CallId,
    network::Way,
    observer,
    random::Random,
    trouble::Trouble,
    world::{Happening, World, trace},
};

/// Where masters' clocks begin, Unix milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Most proposals under way: some for each client and stage, and one for each page message that a slow
/// network delivers at once.
const MAX_PROPOSALS: usize = 256;
/// Most leases out: two agents of at most four cores, and no task takes less than a quarter.
const MAX_LEASES: usize = 32;
/// Machines that are no masters at first.
const SPARES: u64 = 2;
/// How long a master that was removed goes on, as in the driver.
const REMOVED_STAYS_US: u64 = 3_000_000;
/// Most writes that are not durable.
const MAX_WRITES: usize = 256;

/// A master's machine: the process may come and go, the disk stays.
pub(super) struct MasterHost {
    /// Which master it is; nothing before it has joined.
    pub(super) identity: Option<Identity>,
    pub(super) control: Option<Control>,
    /// This life of the process; 0 while it is down.
    pub(super) boot: u64,
    pub(super) clock_ahead_ms: i64,
    pub(super) disk: Disk,
    snapshot_entries: u64,
    /// Sessions that it may send in.
    sessions: BTreeSet<SessionId>,
    questions: BTreeMap<Ticket, Question>,
    last_ticket: u64,
    pub(super) pages: Pages,
    /// Whether this life has become leader.
    has_led: bool,
    /// It has joined, and does not vote yet.
    pub(super) is_learner: bool,
    /// Since when it knows that it is no master any more.
    removed_us: Option<u64>,
    /// The newest term that it has told anybody of.
    pub(super) told_term: u64,
}

/// Pages between their commit and the next snapshot, and the store.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) recent: BTreeMap<Digest, Vec<u8>>,
    pub(super) store: BTreeMap<Digest, Vec<u8>>,
    /// Those that the snapshot under way makes superfluous among the recent.
    snapshot: Vec<Digest>,
}

impl MasterHost {
    /// The masters that a cluster begins with, and machines that may join it.
    pub(super) fn cluster(random: &mut Random) -> Vec<MasterHost> {
        let count = random.pick(&[1, 3, 3, 3, 3, 5]);
        let cluster = ClusterId(random.id());
        let begins = begin((0..count).map(|host| (NodeId(host + 1), address_of(host as usize))));
        let nothing = LogWrite::default();
        let hosts = (0..count + SPARES).map(|host| {
            let of_first = host < count;
            let mut master = MasterHost::new(random, if of_first { &begins } else { &nothing });
            master.identity = of_first.then_some(Identity { cluster, node: NodeId(host + 1) });
            master
        });
        hosts.collect()
    }

    /// A machine with an empty disk, that may join.
    pub(super) fn spare(random: &mut Random) -> MasterHost {
        MasterHost::new(random, &LogWrite::default())
    }

    fn new(random: &mut Random, begins: &LogWrite) -> MasterHost {
        MasterHost {
            identity: None,
            control: None,
            boot: 0,
            clock_ahead_ms: 0,
            disk: Disk::new(random, begins),
            snapshot_entries: random.between(5, 120),
            sessions: BTreeSet::new(),
            questions: BTreeMap::new(),
            last_ticket: 0,
            pages: Pages::default(),
            has_led: false,
            is_learner: false,
            removed_us: None,
            told_term: 0,
        }
    }

    /// Whether it acts as leader; it may have been deposed.
    pub(super) fn leads(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.table().is_some())
    }

    pub(super) fn page(&self, digest: Digest) -> Option<&[u8]> {
        let page = self.pages.recent.get(&digest).or_else(|| self.pages.store.get(&digest));
        page.map(|bytes| &bytes[..])
    }
}

/// Where a machine is reached.
pub(super) fn address_of(host: usize) -> String {
    format!("machine-{host}:7400")
}

impl fmt::Display for MasterHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Identity { node, .. }) = self.identity else { return f.write_str("a spare") };
        let Some(control) = &self.control else { return write!(f, "{node} is down") };
        let (role, term) = (control.role(), control.term());
        write!(f, "{node} is a {role:?} of term {term}, applied {}", control.state().applied)?;
        let Some(table) = control.table() else { return Ok(()) };
        write!(f, ", {} proposals, {} leases", control.proposals(), table.leases().len())?;
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
    fn unix_ms(&self, master: usize) -> u64 {
        (EPOCH_MS + self.now_us / 1_000).saturating_add_signed(self.masters[master].clock_ahead_ms)
    }

    /// The master that is in this life.
    pub(super) fn running(&self, boot: u64) -> Option<usize> {
        self.masters.iter().position(|master| master.boot == boot && master.control.is_some())
    }

    /// The newest leader that is up.
    pub(super) fn leader(&self) -> Option<usize> {
        let leaders = (0..self.masters.len()).filter(|master| self.masters[*master].leads());
        leaders.max_by_key(|master| self.masters[*master].control.as_ref().map(Control::term))
    }

    /// What the leader has applied.
    pub(super) fn leaders_state(&self) -> Option<&ClusterState> {
        self.leader().and_then(|leader| self.masters[leader].control.as_ref()).map(Control::state)
    }

    /// Whom somebody asks after this master: the leader, if that one can be asked and knows.
    pub(super) fn whom_to_ask(&mut self, master: usize) -> usize {
        let control = self.masters[master].control.as_ref();
        if self.masters[master].leads() && !self.random.one_in(20) {
            return master;
        }
        let node = control.and_then(Control::leader).map(|leader| leader.node);
        let host = node.and_then(|node| self.host_of(node));
        host.unwrap_or_else(|| self.random.index(self.masters.len()))
    }

    pub(super) fn master_starts(&mut self, master: usize) {
        let host = &self.masters[master];
        let Some(identity) = host.identity.filter(|_| host.control.is_none()) else { return };
        let Some(recovered) = self.read_log(master) else { return };
        let host = &mut self.masters[master];
        let boot = self.random.id();
        trace!(self, "{} starts with {} entries", identity.node, recovered.entries.len());
        let control = Control::new(identity, &recovered, boot, self.variant.apply());
        let mut control = control.expect("a master starts from its own log");
        control.snapshot_after(host.snapshot_entries);
        control.introduce(Introduction { address: address_of(master), data: 0 });
        let (node, term) = (identity.node, control.term());
        assert!(term >= host.told_term, "{node} is back in term {term}, not {}", host.told_term);
        host.control = Some(control);
        host.boot = boot;
        host.has_led = false;
        host.removed_us = None;
        self.after(0, Happening::MasterTicks { boot });
    }

    pub(super) fn master_crashes(&mut self, master: usize, down_us: u64) {
        let host = &mut self.masters[master];
        if host.control.is_none() {
            return;
        }
        let loss = host.disk.crash(&mut self.random);
        trace!(self, "machine {master} crashes, {loss:?}, back in {down_us} us");
        self.counts.add(Fact::MasterCrash, 1);
        self.counts.add(Fact::LostWrite, u64::from(loss.lost));
        self.counts.add(Fact::UnreportedWrite, u64::from(loss.unreported));
        self.master_ends(master);
        self.after(down_us, Happening::MasterStarts { master });
    }

    /// A master's process is gone, with all that was not on its disk.
    pub(super) fn master_ends(&mut self, master: usize) {
        let host = &mut self.masters[master];
        host.control = None;
        host.boot = 0;
        host.pages.recent.clear();
        host.questions.clear();
        host.sessions.clear();
        for agent in 0..self.agents.len() {
            self.connection_loses_master(agent, master);
        }
    }

    pub(super) fn master_ticks(&mut self, boot: u64) {
        let Some(master) = self.running(boot) else { return };
        self.step_master(master, Event::Tick);
        if !self.is_faulty() && self.masters[master].leads() {
            self.resume_all(master);
        }
        if self.is_removed(master) {
            trace!(self, "machine {master} was removed, and ends");
            return self.master_ends(master);
        }
        self.after(TICK_MS * 1_000, Happening::MasterTicks { boot });
    }

    /// Whether a master has known for a while that it was removed.
    fn is_removed(&mut self, master: usize) -> bool {
        let now_us = self.now_us;
        let host = &mut self.masters[master];
        let (Some(control), Some(us)) = (&host.control, host.identity) else { return false };
        let members = &control.state().members;
        if members.is_empty() || members.contains_key(&us.node) {
            host.removed_us = None;
            return false;
        }
        now_us >= *host.removed_us.get_or_insert(now_us) + REMOVED_STAYS_US
    }

    pub(super) fn disk_reports(&mut self, boot: u64, report: Report) {
        let Some(master) = self.running(boot) else { return };
        trace!(self, "disk {master} reports {report:?}");
        match report {
            Report::Written(number) => self.step_master(master, Event::Persisted(number)),
            Report::Snapshot => {
                self.counts.add(Fact::Snapshot, 1);
                let pages = &mut self.masters[master].pages;
                for digest in std::mem::take(&mut pages.snapshot) {
                    pages.recent.remove(&digest);
                }
                self.step_master(master, Event::SnapshotPersisted);
            }
        }
    }

    pub(super) fn snapshot_encoded(&mut self, boot: u64, state: &ClusterState, metadata: Vec<u8>) {
        let Some(master) = self.running(boot) else { return };
        // Pages are written into the store before.
        let troubled = matches!(self.trouble(master), Some(Trouble::Full | Trouble::Failing));
        if troubled || self.goes_wrong(8) {
            return self.step_master(master, Event::SnapshotFailed);
        }
        let pages = &mut self.masters[master].pages;
        pages.store.extend(pages.recent.clone());
        pages.snapshot = pages.recent.keys().copied().collect();
        let (index, state) = (state.applied, snapshot::encode(state).into());
        let snapshot = LogSnapshot { index, metadata, state };
        self.step_master(master, Event::SnapshotEncoded(snapshot));
    }

    pub(super) fn master_receives(&mut self, session: SessionId, message: AgentMessage) {
        let master = self.network.master_of(session);
        let arrives = self.network.arrives(session, Way::ToMaster);
        if let Some(master) = master.filter(|_| arrives) {
            trace!(self, "machine {master} hears {session:?} {message:?}");
            self.step_master(master, Event::FromAgent(session, message));
        }
    }

    pub(super) fn master_notices(&mut self, session: SessionId) {
        trace!(self, "a master notices the end of {session:?}");
        let master = self.network.master_of(session);
        self.network.noticed(session, Way::ToMaster);
        self.close_to_agent(session);
        if let Some(master) = master {
            self.masters[master].sessions.remove(&session);
            self.step_master(master, Event::AgentClosed(session));
        }
    }

    /// An agent has dialled a master, which is up.
    pub(super) fn session_opens(&mut self, master: usize, session: SessionId) {
        self.masters[master].sessions.insert(session);
    }

    /// A client's request arrives.
    pub(super) fn asked(&mut self, boot: u64, job: usize, ask: Ask, call: CallId) {
        let Some(master) = self.running(boot) else { return };
        trace!(self, "machine {master} is asked by client {job} for {ask:?}");
        let client = &self.clients[job];
        let change = match (ask, client.told) {
            (Ask::Cancel, Some(id)) => Change::CancelJob(id),
            _ => {
                let (request, spec) = (client.plan.request, client.plan.spec.clone());
                Change::SubmitJob { request, spec }
            }
        };
        let question = Question::Client { job, ask, call };
        self.ask(master, question, |ticket| Event::Client(ticket, change));
    }

    /// Somebody asks a master something.
    pub(super) fn ask(
        &mut self,
        master: usize,
        question: Question,
        event: impl FnOnce(Ticket) -> Event,
    ) {
        let host = &mut self.masters[master];
        host.last_ticket += 1;
        let ticket = Ticket(host.last_ticket);
        host.questions.insert(ticket, question);
        self.step_master(master, event(ticket));
    }

    /// A master answers.
    pub(super) fn answered(&mut self, master: usize, question: Question, answer: Answer) {
        match question {
            Question::Client { job, ask, call } => {
                trace!(self, "machine {master} answers client {job}: {ask:?} {answer:?}");
                self.answer_client(master, (job, call), ask, answer);
                self.maybe_crash_after_promise(master);
            }
            Question::Name(call) => self.name_answered(master, call, answer),
            Question::Read(look) => {
                if answer.is_ok() {
                    self.reads(master, &look);
                }
            }
            Question::Join { host } => {
                if answer.is_ok() {
                    self.joined(master, host);
                }
            }
            Question::Operation(fact) => self.counts.add(fact, answer.is_ok().into()),
            Question::Other => {}
        }
    }

    pub(super) fn step_master(&mut self, master: usize, event: Event) {
        let now_ms = self.unix_ms(master);
        let host = &mut self.masters[master];
        let Some(control) = &mut host.control else { return };
        let actions = control.step(event, now_ms);
        // Before anybody is told of a page, it can be read.
        for action in &actions {
            if let Action::KeepPage { digest, bytes, .. } = action {
                host.pages.recent.insert(*digest, bytes.clone());
            }
        }
        for action in actions {
            self.do_for_master(master, action);
        }
        self.begin_sync(master);
        self.check_master(master);
    }

    fn do_for_master(&mut self, master: usize, action: Action) {
        match action {
            Action::Persist(number, write) => self.write(master, number, write),
            Action::PersistSnapshot(snapshot) => {
                let forget = self.variant == Variant::SnapshotWithoutHardState;
                self.masters[master].disk.snapshot(snapshot, forget);
            }
            Action::EncodeSnapshot { state, metadata } => {
                let boot = self.masters[master].boot;
                let delay_us = self.random.between(10, 50_000);
                self.after(delay_us, Happening::SnapshotEncoded { boot, state, metadata });
            }
            Action::Answer(ticket, answer) => {
                if let Some(question) = self.masters[master].questions.remove(&ticket) {
                    self.answered(master, question, answer);
                }
            }
            Action::ToPeer(message) => self.send_to_peer(master, message),
            Action::FetchPages { message, pages } => self.fetch_pages(master, message, pages),
            Action::Strange(why) => panic!("machine {master} finds a peer strange: {why}"),
            Action::ToAgent(session, message) => self.send_to_agent(master, session, message),
            Action::CloseSession(session, why) => {
                trace!(self, "machine {master} closes {session:?}: {why}");
                self.masters[master].sessions.remove(&session);
                self.close_to_agent(session);
            }
            Action::Halt(malformed) => panic!("machine {master} halts: {malformed}"),
            Action::KeepPage { .. }
            | Action::JobChanged(_)
            | Action::Live(_)
            | Action::Measured(_) => {}
        }
    }

    fn write(&mut self, master: usize, number: u64, mut write: LogWrite) {
        if write.replaces_all {
            self.counts.add(Fact::Installed, 1);
            let control = self.masters[master].control.as_ref().expect("it has just acted");
            observer::check_installed(control.state());
        } else if write.entries.is_empty() && self.variant == Variant::ForgetVotes {
            write.hard_state = None;
        }
        self.masters[master].disk.write(number, write);
        if self.variant == Variant::AcknowledgeBeforeSync {
            self.disk_will_report(master, Report::Written(number));
        }
    }

    fn send_to_agent(&mut self, master: usize, session: SessionId, message: MasterMessage) {
        if !self.masters[master].sessions.contains(&session) {
            return;
        }
        let parsed = MasterMessage::try_from(wire::MasterMessage::from(message.clone()));
        assert_eq!(parsed.as_ref(), Ok(&message), "what a master sends is a message");
        if let MasterMessage::Grants(leases) = &message {
            self.check_grants(master, leases);
        }
        let is_stored = matches!(message, MasterMessage::PagesStored(_));
        let repeat = matches!(message, MasterMessage::Grants(_)) && self.goes_wrong(20);
        // Much happens to an agent that waits for its welcome.
        let late = matches!(message, MasterMessage::Welcome { .. }) && self.goes_wrong(3);
        let delay_us =
            if late { self.random.between(1_000, 800_000) } else { self.message_delay_us() };
        for delay_us in [delay_us, 0].into_iter().take(1 + usize::from(repeat)) {
            if let Some(at_us) = self.network.send(session, Way::ToAgent, self.now_us, delay_us) {
                self.at(at_us, Happening::ToAgent(session, message.clone()));
            }
        }
        self.counts.add(Fact::RepeatedGrants, u64::from(repeat));
        if is_stored {
            self.maybe_crash_after_promise(master);
        }
    }

    /// A new leader lends nothing that an agent may hold of which it has not heard yet: that is
    /// what `leased_through` is for.
    fn check_grants(&mut self, master: usize, leases: &[Lease]) {
        let control = self.masters[master].control.as_ref();
        let Some(table) = control.and_then(Control::table) else { return };
        if table.is_settled() {
            return;
        }
        let unheard = self.agents.iter().filter(|agent| !table.agents().contains_key(&agent.id));
        for (agent, Lease { id, stage, range, .. }) in
            unheard.flat_map(|agent| leases.iter().map(move |lease| (agent, lease)))
        {
            assert!(
                !agent.holds(*stage, *range),
                "{id} lends tasks of {stage} in {range} that {} holds, of which its leader has not heard",
                agent.id
            );
        }
        self.counts.add(Fact::LentEarly, 1);
    }

    fn check_master(&mut self, master: usize) {
        self.check_leader(master);
        let host = &mut self.masters[master];
        let Some(control) = &host.control else { return };
        assert!(control.proposals() <= MAX_PROPOSALS, "{} proposals", control.proposals());
        assert!(host.disk.waiting() <= MAX_WRITES, "writes pile up");
        let Some(table) = control.table() else { return };
        table.check_invariants(control.state());
        assert!(table.leases().len() <= MAX_LEASES, "{} leases", table.leases().len());
        if !std::mem::replace(&mut host.has_led, true) {
            trace!(self, "machine {master} leads after applying {}", control.state().applied);
            observer::check_nothing_lost(control.state());
            self.clients.iter().for_each(|client| client.check_job(control.state()));
        }
    }
}
