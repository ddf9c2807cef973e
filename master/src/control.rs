//! A whole master as a step without I/O: Raft node, state, lease table and sessions with agents.
//!
//! [`Control::step`] takes what happened and the time, and says what is to be done, in order.
//! The driver feeds it from sockets and disks; a simulation feeds it from a seed.

mod agents;
mod install;
mod lead;
mod measure;
mod members;
mod once;
mod precompile;
mod reads;
mod refusal;
mod speed;

use std::collections::{BTreeMap, VecDeque};

use weir_proto::{
    agent::{AgentMessage, LiveChunk, MasterMessage},
    command::{Change, Command},
    digest::Digest,
    id::{AgentId, JobId, Namespace, NodeId, StageId},
    lease::Lease,
    malformed::Malformed,
};
use weir_scheduler::{
    apply::{Effect, Rejection},
    lease::LeaseTable,
    members::Identity,
    place::{self, MAX_GRANTS},
    snapshot,
    state::ClusterState,
};

use crate::{
    log::{LogSnapshot, LogWrite, Recovered},
    node::{self, Committed, Node, NodeError, Payload, PeerMessage},
};
use agents::{Hello, Sessions};
use install::Snapshots;
use measure::Measuring;
use members::InSnapshot;
use precompile::Precompiles;
use reads::Reads;

/// How often [`Event::Tick`] should come, in milliseconds.
pub const TICK_MS: u64 = 100;
/// Steps further apart than this mean that the clock jumped, or that this process stood still:
/// agents had no chance to be heard.
const MAX_STEP_GAP_MS: u64 = 1_000;
/// Most proposals that are not committed yet; more are refused.
const MAX_PROPOSALS: usize = 8_192;

pub use agents::{HEARTBEAT_MS, SessionId};
pub use install::PeerProblem;
pub(crate) use install::pages_of;
pub use lead::Introduction;
pub use measure::{Ending, Measure};
pub use members::{Leader, MemberProblem, MemberRequest};
pub use precompile::PrecompileRequest;
pub use refusal::Refusal;

/// How commands change the state. It is [`weir_scheduler::apply::apply`]; a simulation that proves
/// itself passes a broken one.
pub type Apply = fn(&mut ClusterState, Command, u64) -> Result<Vec<Effect>, Rejection>;

/// A client's request, numbered by whoever waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What becomes of a client's request: the job that it made, if it makes one, or why not.
pub type Answer = Result<Option<JobId>, Refusal>;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// `TICK_MS` have passed.
    Tick,
    /// Writes up to this number are durable.
    Persisted(u64),
    /// A snapshot was encoded, and every page that its state names is durable.
    SnapshotEncoded(LogSnapshot),
    /// The snapshot is durable.
    SnapshotPersisted,
    /// A snapshot could not be encoded.
    SnapshotFailed,
    /// A peer's message.
    FromPeer(PeerMessage),
    /// Every page that the snapshot in a peer's message names is durable here.
    PagesFetched(PeerMessage),
    /// They cannot be had now.
    PagesMissing,
    /// Messages to a peer do not arrive.
    PeerUnreachable(NodeId),
    /// Another master said who it is.
    PeerIntroduced(NodeId, Introduction),
    /// A snapshot did not arrive at a peer.
    SnapshotLost(NodeId),
    /// A client wants to see all that was acknowledged before now.
    Read(Ticket),
    /// A client wants other masters.
    ChangeMembers(Ticket, MemberRequest),
    /// A client wants another master to lead.
    TransferLeader(Ticket, NodeId),
    /// A client asks for a change.
    Client(Ticket, Change),
    /// An agent says something.
    FromAgent(SessionId, AgentMessage),
    /// A session with an agent broke.
    AgentClosed(SessionId),
    /// A client wants agents to compile a module.
    Precompile(PrecompileRequest),
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Write durably, after all earlier writes, and report the number.
    Persist(u64, LogWrite),
    /// Write this snapshot durably, after all earlier writes, and report its index.
    PersistSnapshot(LogSnapshot),
    /// Keep the pages that this state names durable, then encode it and report it.
    EncodeSnapshot {
        /// The state; cheap to hold.
        state: Box<ClusterState>,
        /// For the snapshot.
        metadata: Vec<u8>,
    },
    /// Send to a peer, in order; what cannot be sent soon may be dropped.
    ToPeer(PeerMessage),
    /// Make these pages durable here, as far as they are not, and hand the message back.
    FetchPages {
        /// It brings the snapshot that names them; whoever sent it has them.
        message: PeerMessage,
        /// Which.
        pages: Vec<(Namespace, Digest)>,
    },
    /// A peer is not what it should be.
    Strange(PeerProblem),
    /// Answer a client: its change is committed, and made this job if it makes one; or it may read.
    Answer(Ticket, Answer),
    /// Send to an agent.
    ToAgent(SessionId, MasterMessage),
    /// End a session with an agent.
    CloseSession(SessionId, &'static str),
    /// Keep a page until a snapshot makes it durable.
    KeepPage {
        /// Whose it is.
        namespace: Namespace,
        /// Its name.
        digest: Digest,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// State about a job changed, or it is gone.
    JobChanged(JobId),
    /// Output of running tasks, advisory.
    Live(Vec<LiveChunk>),
    /// Count this.
    Measured(Measure),
    /// The log holds what this binary cannot apply; it must stop.
    Halt(Malformed),
}

/// What waits for a proposal to be committed.
#[derive(Debug)]
enum Waiting {
    Nothing,
    Client(Ticket),
    Pages(SessionId, Vec<u64>),
    Register(SessionId, Hello),
    /// A lease of tasks that run at most once, for this agent.
    Grant(AgentId, Box<Lease>),
    /// That an agent is no longer there.
    Gone(AgentId),
}

/// A master.
pub struct Control {
    node: Node,
    state: ClusterState,
    apply: Apply,
    /// Drawn at start; tells this life's proposals from earlier ones.
    boot: u64,
    last_proposal: u64,
    waiting: BTreeMap<u64, Waiting>,
    sessions: Sessions,
    /// What only a leader has.
    table: Option<LeaseTable>,
    snapshots: Snapshots,
    last_step_ms: Option<u64>,
    /// Reset with each leadership.
    measuring: Measuring,
    precompiles: Precompiles,
    reads: Reads,
    in_snapshot: InSnapshot,
    introductions: BTreeMap<NodeId, Introduction>,
    /// Writes under way, and the messages for peers that wait for each.
    vouching: VecDeque<(u64, Vec<PeerMessage>)>,
}

/// A master does not start from this log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its state is not readable.
    #[error("the log's snapshot is not readable")]
    Snapshot(#[from] Malformed),
    /// Its Raft part is not readable.
    #[error("the log is not readable")]
    Node(#[from] NodeError),
}

impl Control {
    /// A master that goes on from what its log holds.
    ///
    /// `boot` must be drawn anew at each start; a simulation draws it from its seed.
    ///
    /// # Errors
    /// When the log is corrupt or of a newer Weir.
    pub fn new(
        identity: Identity,
        recovered: &Recovered,
        boot: u64,
        apply: Apply,
    ) -> Result<Control, StartError> {
        let state = match &recovered.snapshot {
            Some(snapshot) => snapshot::decode(&snapshot.state)?,
            None => ClusterState::default(),
        };
        node::check_levels(recovered)?;
        Ok(Control {
            node: Node::new(identity, recovered, boot)?,
            state,
            apply,
            boot,
            last_proposal: 0,
            waiting: BTreeMap::new(),
            sessions: Sessions::default(),
            table: None,
            snapshots: Snapshots::new(),
            last_step_ms: None,
            measuring: Measuring::default(),
            precompiles: Precompiles::default(),
            reads: Reads::default(),
            in_snapshot: InSnapshot::default(),
            introductions: BTreeMap::new(),
            vouching: VecDeque::new(),
        })
    }

    /// What this master has applied.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// What it has lent, while it leads.
    pub fn table(&self) -> Option<&LeaseTable> {
        self.table.as_ref()
    }

    /// Its Raft term.
    pub fn term(&self) -> u64 {
        self.node.term()
    }

    /// The last log entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.node.committed()
    }

    /// Proposals that are not committed yet.
    pub fn proposals(&self) -> usize {
        self.waiting.len()
    }

    /// Something happened; returns what is to be done. `now_ms` is Unix time.
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.notice_clock(now_ms);
        match event {
            Event::Tick => self.tick(now_ms, &mut actions),
            Event::Persisted(number) => self.persisted(number, &mut actions),
            Event::SnapshotEncoded(snapshot) => self.snapshot_encoded(snapshot, &mut actions),
            Event::SnapshotPersisted => self.snapshot_persisted(),
            Event::SnapshotFailed => self.snapshots.failed(),
            Event::FromPeer(message) => self.peer_said(message, &mut actions),
            Event::PagesFetched(message) => self.pages_fetched(&message, &mut actions),
            Event::PagesMissing => self.pages_missing(),
            Event::PeerUnreachable(peer) => self.node.unreachable(peer),
            Event::PeerIntroduced(peer, introduction) => {
                self.introduced(peer, introduction, now_ms);
            }
            Event::SnapshotLost(peer) => self.node.snapshot_failed(peer),
            Event::Read(ticket) => self.read(ticket, &mut actions),
            Event::ChangeMembers(ticket, request) => {
                self.change_members(ticket, request, &mut actions);
            }
            Event::TransferLeader(ticket, to) => self.transfer_leader(ticket, to, &mut actions),
            Event::Client(ticket, change) => {
                if let Err(refusal) = self.propose(change, Waiting::Client(ticket), now_ms) {
                    actions.push(Action::Answer(ticket, Err(refusal)));
                }
            }
            Event::FromAgent(session, message) => {
                self.agent_said(session, message, now_ms, &mut actions);
            }
            Event::AgentClosed(session) => self.agent_closed(session),
            Event::Precompile(request) => self.precompile(request, &mut actions),
        }
        self.settle(now_ms, &mut actions);
        actions
    }

    /// Lets node and placement act on each other until both are quiet.
    fn settle(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.node.output() {
                quiet = false;
                actions.extend(output.send.into_iter().map(Action::ToPeer));
                if let Some((number, write)) = output.persist {
                    self.vouching.push_back((number, output.send_persisted));
                    actions.push(Action::Persist(number, write));
                }
                if let Some(index) = output.installed {
                    self.installed(index, actions);
                }
                for entry in output.committed {
                    self.apply_entry(entry, now_ms, actions);
                }
                for (context, index) in output.reads {
                    self.read_confirmed(&context, index);
                }
            }
            if self.table.is_some() && !self.node.is_leader() {
                self.step_down(actions);
            }
            if self.place(now_ms, actions) {
                quiet = false;
            }
            if quiet {
                break;
            }
        }
        if let Some(table) = &mut self.table {
            self.measuring.over(&table.take_over(), now_ms, actions);
        }
        self.answer_reads(actions);
        self.forget_offered_snapshot();
        self.snapshot_if_due(actions);
    }

    /// Messages that vouch for what is durable now may leave.
    fn persisted(&mut self, number: u64, actions: &mut Vec<Action>) {
        self.node.persisted(number);
        while self.vouching.front().is_some_and(|(ordered, _)| *ordered <= number) {
            let messages = self.vouching.pop_front().map(|(_, messages)| messages);
            let messages = messages.unwrap_or_default().into_iter();
            actions.extend(messages.map(Action::ToPeer));
        }
    }

    /// Looked at before each step: what is stamped after a jump must not be moved by it.
    fn notice_clock(&mut self, now_ms: u64) {
        let last_ms = self.last_step_ms.replace(now_ms).unwrap_or(now_ms);
        if let Some(table) = &mut self.table
            && now_ms.abs_diff(last_ms) > MAX_STEP_GAP_MS
        {
            table.clock_jumped(last_ms, now_ms);
        }
        if let Some(table) = &mut self.table {
            table.pass_time(now_ms);
        }
    }

    fn tick(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.node.tick();
        self.tick_reads(actions);
        self.tick_snapshots();
        self.tick_members();
        let Some(table) = &mut self.table else { return };
        table.settle(now_ms);
        let missing = table.silent(now_ms).into_iter().chain(table.overdue());
        for agent in missing.collect::<Vec<_>>() {
            self.lose(agent, now_ms);
        }
    }

    /// Proposes a change; false when it cannot be proposed now.
    fn propose(&mut self, change: Change, waiting: Waiting, now_ms: u64) -> Result<(), Refusal> {
        if self.table.is_none() {
            return Err(self.not_leader());
        }
        if self.waiting.len() >= MAX_PROPOSALS {
            return Err(Refusal::Busy);
        }
        let context = self.context_for(waiting);
        let data = Command { now_ms, change }.encode();
        self.node.propose(context, data).map_err(|_| {
            self.waiting.remove(&self.last_proposal);
            self.not_leader()
        })
    }

    /// What tells the next proposal from all others; whoever waits is told when it is committed.
    fn context_for(&mut self, waiting: Waiting) -> Vec<u8> {
        self.last_proposal += 1;
        self.waiting.insert(self.last_proposal, waiting);
        [self.boot.to_le_bytes(), self.last_proposal.to_le_bytes()].concat()
    }

    fn apply_entry(&mut self, entry: Committed, now_ms: u64, actions: &mut Vec<Action>) {
        self.node.applied(entry.index);
        let waiting = self.take_waiting(&entry.context);
        let data = match entry.payload {
            Payload::Command(data) => data,
            Payload::Members(change) => {
                self.snapshots.applied(0);
                let refused = self.apply_change(change, entry.index);
                return self.answer(waiting, None, refused, now_ms, actions);
            }
            Payload::Nothing => {
                self.snapshots.applied(0);
                self.state.applied = entry.index;
                if entry.term == self.node.term() && self.node.is_leader() {
                    self.lead(now_ms);
                }
                return;
            }
        };
        self.snapshots.applied(data.len());
        let command = match Command::decode(&data) {
            Ok(command) => command,
            Err(malformed) => return actions.push(Action::Halt(malformed)),
        };
        let agent = if let Change::CommitPages { agent, .. } = &command.change {
            Some(*agent)
        } else {
            None
        };
        let applied = (self.apply)(&mut self.state, command, entry.index);
        let effects = applied.as_deref().unwrap_or_default();
        let submitted = effects.iter().find_map(|effect| match effect {
            Effect::Submitted { job, .. } => Some(*job),
            _ => None,
        });
        for effect in effects {
            if self.table.is_some() {
                self.measuring.effect(&self.state, effect, agent, actions);
            }
            self.follow(effect.clone(), actions);
        }
        let refused = applied.err().map(Refusal::from);
        self.answer(waiting, submitted, refused, now_ms, actions);
    }

    /// What waits for an entry, if this life of this master proposed it.
    fn take_waiting(&mut self, context: &[u8]) -> Waiting {
        let ours = context.strip_prefix(&self.boot.to_le_bytes()[..]);
        let number = ours.and_then(|rest| rest.try_into().ok()).map(u64::from_le_bytes);
        number.and_then(|number| self.waiting.remove(&number)).unwrap_or(Waiting::Nothing)
    }

    fn answer(
        &mut self,
        waiting: Waiting,
        submitted: Option<JobId>,
        refused: Option<Refusal>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        match waiting {
            Waiting::Nothing => {}
            Waiting::Client(ticket) => {
                actions.push(Action::Answer(ticket, refused.map_or(Ok(submitted), Err)));
            }
            Waiting::Pages(session, seqs) => {
                actions.push(Action::ToAgent(session, MasterMessage::PagesStored(seqs)));
            }
            Waiting::Register(session, hello) => {
                self.registered(session, hello, refused.is_none(), now_ms, actions);
            }
            Waiting::Grant(agent, lease) => {
                self.granted_once(agent, *lease, refused.is_none(), now_ms, actions);
            }
            Waiting::Gone(agent) => self.sessions.gone(agent, actions),
        }
    }

    /// Does what follows from a change of the state.
    fn follow(&mut self, effect: Effect, actions: &mut Vec<Action>) {
        match effect {
            Effect::Submitted { .. } | Effect::AgentRegistered(_) => {}
            Effect::JobStarted(job) => {
                for stage in self.stages_of(job) {
                    if let Some(table) = &mut self.table {
                        table.add_stage(&self.state, stage);
                    }
                }
                actions.push(Action::JobChanged(job));
            }
            Effect::Retried { stage, tasks } => {
                if let Some(table) = &mut self.table {
                    table.retry(stage, &tasks);
                }
                actions.push(Action::JobChanged(stage.job));
            }
            Effect::Done { stage, tasks, .. } => {
                let over = self.table.as_mut().map(|table| table.done(stage, &tasks));
                self.sessions.revoke(over.unwrap_or_default(), actions);
                actions.push(Action::JobChanged(stage.job));
            }
            Effect::KeepPage { namespace, digest, bytes } => {
                actions.push(Action::KeepPage { namespace, digest, bytes });
            }
            Effect::LeasesExtended(stage) => {
                if let (Some(table), Some((mark, _))) = (&mut self.table, self.state.stage(stage)) {
                    table.extended(stage, mark.leased_through);
                }
            }
            Effect::OnceReturned { stage, tasks } => {
                if let Some(table) = &mut self.table {
                    table.returned_once(stage, &tasks);
                }
            }
            Effect::WeightChanged(namespace) => {
                if let Some(table) = &mut self.table {
                    table.set_weight(&namespace, self.state.weight(&namespace));
                }
            }
            Effect::Paused(job) => {
                for stage in self.stages_of(job) {
                    let (Some(table), Some((of_state, _))) =
                        (&mut self.table, self.state.stage(stage))
                    else {
                        continue;
                    };
                    let told = table.pause(stage, &of_state.paused);
                    self.sessions.tell(MasterMessage::Pause, told, actions);
                }
                actions.push(Action::JobChanged(job));
            }
            Effect::JobEnded(job) => {
                for stage in self.stages_of(job) {
                    let revoked = self.table.as_mut().map(|table| table.remove_stage(stage));
                    self.sessions.revoke(revoked.unwrap_or_default(), actions);
                }
                actions.push(Action::JobChanged(job));
            }
            Effect::JobForgotten(job) => actions.push(Action::JobChanged(job)),
            Effect::AgentGone(agent) => {
                if let Some(table) = &mut self.table {
                    table.lose(agent);
                }
            }
            Effect::AgentDrained { agent, draining } => {
                self.sessions.drain(agent, draining, actions);
            }
            Effect::AgentCalibrated { agent, fuel_per_second } => {
                if let Some(table) = &mut self.table {
                    table.calibrated(agent, fuel_per_second);
                }
            }
        }
    }

    fn stages_of(&self, job: JobId) -> Vec<StageId> {
        let stages = self.state.jobs.get(&job).map_or(0, |job| job.stages.len() as u32);
        (0..stages).map(|stage| StageId { job, stage }).collect()
    }

    /// Grants what can be granted; true when that calls for another round.
    fn place(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> bool {
        self.return_unheld(now_ms);
        let Some(table) = &mut self.table else { return false };
        let placement = place::place(&self.state, table, now_ms);
        let mut again = placement.grants.len() >= MAX_GRANTS;
        self.sessions.tell(MasterMessage::Pause, placement.resumed, actions);
        self.sessions.tell(MasterMessage::Recall, placement.recalled, actions);
        for (stage, leased_through) in placement.extensions {
            let change = Change::ExtendLeases { stage, leased_through };
            if self.propose(change, Waiting::Nothing, now_ms).is_ok() {
                again = true;
            } else if let Some(table) = &mut self.table {
                table.not_extending(stage);
            }
        }
        let grants = placement.grants.into_iter();
        let (once, grants): (Vec<_>, _) = grants.partition(|(_, lease)| lease.spec.once);
        for (agent, lease) in once {
            again |= self.grant_once(agent, lease, now_ms);
        }
        self.measuring.granted(&grants, now_ms, actions);
        self.sessions.grant(grants, actions);
        again
    }
}
