//! The loop that owns the master's state: feeds [`Control`] from sockets, disk and clock, and does
//! what it says. It decides nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot, watch};
use weir_proto::{
    agent::MasterMessage, command::Change, digest::Digest, id::NodeId, malformed::Malformed,
};
use weir_scheduler::{members::Member, snapshot, state::ClusterState};
use weir_store::blobs::PutError;

use crate::{
    control::{Action, Answer, Control, Event, Introduction, Refusal, SessionId, TICK_MS, Ticket},
    disk::{Disk, Report},
    forward::Leadership,
    log::{LogError, LogSnapshot},
    metrics::{Metrics, PageTimes},
    pages::Pages,
    peers::{Ourselves, Peers},
    watchers::Watchers,
};

/// Requests that wait for the loop; senders wait beyond it.
const INBOX: usize = 4_096;
/// Most requests taken at once, before what they ask for is written.
const BATCH: usize = 256;
/// Messages to an agent that its connection has not taken; beyond it the session is cut.
const AGENT_QUEUE: usize = 4_096;
/// A step that takes longer than this is told in the log.
const LONG: Duration = Duration::from_millis(100);
/// How long a master that was removed goes on.
const REMOVED_STAYS: Duration = Duration::from_secs(3);
/// Commits whose latency is remembered.
const LATENCIES: usize = 4_096;

/// What others ask of the loop.
pub(crate) enum Input {
    Ask(Question, oneshot::Sender<Answer>),
    AgentOpened(SessionId, mpsc::Sender<MasterMessage>),
    Event(Event),
    /// A master said who it is.
    Introduced(NodeId, Introduction),
    /// Another master says that this one is none, and why.
    Dismissed(String),
    Inspect(Look),
}

/// What a client asks, once it has a number.
type Question = Box<dyn FnOnce(Ticket) -> Event + Send>;

/// A look at the loop's own state.
type Look = Box<dyn FnOnce(&Control, &Latencies) + Send>;

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log cannot be written.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// The log holds a command that this binary cannot apply.
    #[error("the log holds a command that this binary cannot apply")]
    Command(#[from] Malformed),
    /// It is no master any more.
    #[error(
        "{0} was removed from its cluster; to make this machine a master again, start it with \
         --join and an empty data directory"
    )]
    Removed(NodeId),
    /// Another master says so.
    #[error("{0}")]
    Dismissed(String),
}

impl Next {
    /// What it is, for the log.
    fn word(&self) -> &'static str {
        match self {
            Next::Report(Report::Written { .. }) => "a write to the log",
            Next::Report(Report::Snapshot | Report::Failed(_)) => "a snapshot on disk",
            Next::Encoded(_) => "an encoded snapshot",
            Next::Tick => "a tick",
            Next::Input(Input::Ask(..)) => "what clients ask",
            Next::Input(Input::Inspect(_)) => "a look",
            Next::Input(
                Input::AgentOpened(..)
                | Input::Event(_)
                | Input::Introduced(..)
                | Input::Dismissed(_),
            ) => "what agents and masters say",
        }
    }
}

/// A handle on the loop.
#[derive(Clone)]
pub(crate) struct Handle {
    inbox: mpsc::Sender<Input>,
    state: watch::Receiver<Arc<ClusterState>>,
    leadership: watch::Receiver<Leadership>,
    pub(crate) pages: Pages,
    pub(crate) watchers: Watchers,
    pub(crate) metrics: Metrics,
}

/// The loop has ended.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the master is stopping")]
pub(crate) struct Stopping;

/// How long the newest commits took, from order to durable.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    newest: VecDeque<Duration>,
    /// Commits since start.
    pub(crate) count: u64,
}

/// The loop's own things.
pub(crate) struct Driver {
    control: Control,
    disk: Disk,
    pages: Pages,
    watchers: Watchers,
    state: watch::Sender<Arc<ClusterState>>,
    leadership: watch::Sender<Leadership>,
    peers: Peers,
    /// Since when it is no master.
    removed: Option<Instant>,
    /// Since when another master says so, and what it says.
    dismissed: Option<(Instant, String)>,
    /// What was told last of a peer that is not what it should be.
    strange: String,
    answers: HashMap<Ticket, oneshot::Sender<Answer>>,
    last_ticket: u64,
    agents: HashMap<SessionId, mpsc::Sender<MasterMessage>>,
    latencies: Latencies,
    metrics: Metrics,
    page_times: PageTimes,
    /// When the snapshot under way was begun.
    snapshot_since: Option<Instant>,
    /// Pages that it makes superfluous here.
    snapshot_pages: Vec<Digest>,
    encoded: mpsc::Sender<Encoded>,
}

type Encoded = Result<(LogSnapshot, Vec<Digest>), PutError>;

/// What the loop does next.
enum Next {
    Report(Report),
    Encoded(Encoded),
    Tick,
    Input(Input),
}

impl Handle {
    /// The newest state; cheap.
    pub(crate) fn state(&self) -> Arc<ClusterState> {
        self.state.borrow().clone()
    }

    /// Waits until this master has applied what its log holds, or the loop has ended.
    pub(crate) async fn wait_until_leading(&self) {
        let mut state = self.state.clone();
        while let Ok(false) = self.inspect(|control, _| control.table().is_some()).await {
            // Whatever makes it lead is applied, and so published.
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the loop has ended.
    pub(crate) async fn ended(&self) {
        self.inbox.closed().await;
    }

    pub(crate) async fn send(&self, input: Input) -> Result<(), Stopping> {
        self.inbox.send(input).await.map_err(|_| Stopping)
    }

    /// Proposes a client's change and waits until it is committed.
    pub(crate) async fn change(&self, change: Change) -> Result<Answer, Stopping> {
        self.ask(|ticket| Event::Client(ticket, change)).await
    }

    /// Asks something and waits for the answer.
    pub(crate) async fn ask(
        &self,
        question: impl FnOnce(Ticket) -> Event + Send + 'static,
    ) -> Result<Answer, Stopping> {
        let (sender, answer) = oneshot::channel();
        self.send(Input::Ask(Box::new(question), sender)).await?;
        answer.await.map_err(|_| Stopping)
    }

    /// The state, with everything that was acknowledged before now.
    pub(crate) async fn read(&self) -> Result<Result<Arc<ClusterState>, Refusal>, Stopping> {
        let answer = self.ask(Event::Read).await?;
        Ok(answer.map(|_| self.state()))
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Tells when the state is newer than the one last looked at through this receiver.
    pub(crate) fn states(&self) -> watch::Receiver<Arc<ClusterState>> {
        self.state.clone()
    }

    /// Asks something of the loop's own state.
    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Control, &Latencies) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (sender, answer) = oneshot::channel();
        let look = Box::new(move |control: &Control, latencies: &Latencies| {
            // Whoever asked may have gone.
            let _gone = sender.send(look(control, latencies));
        });
        self.send(Input::Inspect(look)).await?;
        answer.await.map_err(|_| Stopping)
    }
}

impl Latencies {
    fn add(&mut self, latency: Duration) {
        self.count += 1;
        if self.newest.len() == LATENCIES {
            self.newest.pop_front();
        }
        self.newest.push_back(latency);
    }

    /// A quantile in microseconds; 0 without commits.
    pub(crate) fn quantile_us(&self, quantile: f64) -> u64 {
        let mut sorted: Vec<Duration> = self.newest.iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) as f64 * quantile).round() as usize;
        sorted.get(at).map_or(0, |latency| latency.as_micros() as u64)
    }
}

/// Starts the loop. It ends when `shutdown` resolves, or by itself with a failure.
pub(crate) fn start(
    control: Control,
    disk: Disk,
    reports: mpsc::UnboundedReceiver<Report>,
    pages: Pages,
    ourselves: Ourselves,
    shutdown: oneshot::Receiver<()>,
) -> (Handle, tokio::task::JoinHandle<Result<(), Failure>>) {
    let (inbox, inputs) = mpsc::channel(INBOX);
    let (state, published) = watch::channel(Arc::new(control.state().clone()));
    let (leadership, known) = watch::channel(Leadership::Nobody);
    let mut peers = Peers::new(inbox.clone(), ourselves);
    peers.are(others(&control));
    // At most one snapshot is under way.
    let (encoded, encodings) = mpsc::channel(1);
    let (watchers, metrics) = (Watchers::default(), Metrics::default());
    let handle = Handle {
        inbox,
        state: published,
        leadership: known,
        pages: pages.clone(),
        watchers: watchers.clone(),
        metrics: metrics.clone(),
    };
    let driver = Driver {
        control,
        disk,
        pages,
        watchers,
        state,
        leadership,
        peers,
        removed: None,
        dismissed: None,
        strange: String::new(),
        answers: HashMap::new(),
        last_ticket: 0,
        agents: HashMap::new(),
        latencies: Latencies::default(),
        metrics,
        page_times: PageTimes::default(),
        snapshot_since: None,
        snapshot_pages: Vec::new(),
        encoded,
    };
    (handle, tokio::spawn(driver.run(inputs, reports, encodings, shutdown)))
}

impl Driver {
    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut reports: mpsc::UnboundedReceiver<Report>,
        mut encodings: mpsc::Receiver<Encoded>,
        mut shutdown: oneshot::Receiver<()>,
    ) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let next = tokio::select! {
                biased;
                _ = &mut shutdown => return Ok(()),
                Some(report) = reports.recv() => Next::Report(report),
                Some(encoded) = encodings.recv() => Next::Encoded(encoded),
                _ = ticks.tick() => Next::Tick,
                Some(input) = inputs.recv() => Next::Input(input),
            };
            let (began, in_snapshot) = (Instant::now(), self.snapshot_since.is_some());
            let what = next.word();
            self.handle(next, &mut inputs)?;
            let (busy, in_snapshot) =
                (began.elapsed(), in_snapshot || self.snapshot_since.is_some());
            self.metrics.loop_was_busy(busy, in_snapshot);
            if busy > LONG {
                tracing::info!(
                    what,
                    ms = busy.as_millis(),
                    in_snapshot,
                    "the loop answered nobody"
                );
            }
        }
    }

    fn handle(&mut self, next: Next, inputs: &mut mpsc::Receiver<Input>) -> Result<(), Failure> {
        match next {
            Next::Report(report) => self.reported(report),
            Next::Encoded(encoded) => self.snapshot_encoded(encoded),
            Next::Tick => {
                self.step(Event::Tick)?;
                self.check_removed()
            }
            Next::Input(input) => {
                self.input(input)?;
                for _ in 1..BATCH {
                    let Ok(input) = inputs.try_recv() else { break };
                    self.input(input)?;
                }
                Ok(())
            }
        }
    }

    /// Who was removed stays a while, for others may need to hear of it, and then ends.
    fn check_removed(&mut self) -> Result<(), Failure> {
        if let Some((_, why)) = self.dismissed.take_if(|(at, _)| at.elapsed() > REMOVED_STAYS) {
            return Err(Failure::Dismissed(why));
        }
        let (node, members) = (self.control.node(), &self.control.state().members);
        if members.is_empty() || members.contains_key(&node) {
            self.removed = None;
        } else if self.removed.get_or_insert_with(Instant::now).elapsed() > REMOVED_STAYS {
            return Err(Failure::Removed(node));
        }
        Ok(())
    }

    fn reported(&mut self, report: Report) -> Result<(), Failure> {
        match report {
            Report::Written { number, since } => {
                let after = since.elapsed();
                self.latencies.add(after);
                self.metrics.committed(after);
                self.step(Event::Persisted(number))
            }
            Report::Snapshot => {
                self.pages.forget(&std::mem::take(&mut self.snapshot_pages));
                if let Some(since) = self.snapshot_since.take() {
                    self.metrics.snapshot_taken(since.elapsed());
                }
                self.step(Event::SnapshotPersisted)
            }
            Report::Failed(error) => Err(error.into()),
        }
    }

    /// A snapshot that fails is taken again later; the log only grows meanwhile.
    fn snapshot_encoded(&mut self, encoded: Encoded) -> Result<(), Failure> {
        match encoded {
            Ok((snapshot, pages)) => {
                self.snapshot_pages = pages;
                self.step(Event::SnapshotEncoded(snapshot))
            }
            Err(error) => {
                tracing::error!(%error, "no snapshot: pages cannot be put into the store");
                self.snapshot_since = None;
                self.step(Event::SnapshotFailed)
            }
        }
    }

    fn input(&mut self, input: Input) -> Result<(), Failure> {
        match input {
            Input::Ask(question, answer) => {
                self.last_ticket += 1;
                let ticket = Ticket(self.last_ticket);
                self.answers.insert(ticket, answer);
                self.step(question(ticket))
            }
            Input::AgentOpened(session, messages) => {
                self.agents.insert(session, messages);
                Ok(())
            }
            Input::Event(event) => {
                if let Event::AgentClosed(session) = &event {
                    self.agents.remove(session);
                }
                self.step(event)
            }
            Input::Introduced(node, introduction) => {
                self.peers.is_at(node, introduction.address.clone());
                self.step(Event::PeerIntroduced(node, introduction))
            }
            Input::Dismissed(why) => {
                self.dismissed.get_or_insert_with(|| (Instant::now(), why));
                Ok(())
            }
            Input::Inspect(look) => {
                look(&self.control, &self.latencies);
                Ok(())
            }
        }
    }

    fn step(&mut self, event: Event) -> Result<(), Failure> {
        let applied = self.control.state().applied;
        self.page_times.received(&event);
        let mut actions = self.control.step(event, unix_ms());
        // Pages can be found before the state that names them is published, and that is before
        // anybody is told.
        for action in &mut actions {
            if let Action::KeepPage { namespace, digest, bytes } = action {
                self.pages.keep(namespace, *digest, std::mem::take(bytes));
            }
        }
        if self.control.state().applied != applied {
            let before = self.state.send_replace(Arc::new(self.control.state().clone()));
            if before.members != self.control.state().members {
                self.peers.are(others(&self.control));
            }
        }
        let leadership = match self.control.table() {
            Some(_) => Leadership::Ours,
            None => self.control.leader().map_or(Leadership::Nobody, Leadership::Of),
        };
        self.leadership
            .send_if_modified(|before| std::mem::replace(before, leadership.clone()) != leadership);
        for action in actions {
            self.act(action)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::Persist(number, write) => self.disk.write(number, write),
            Action::PersistSnapshot(snapshot) => self.disk.snapshot(snapshot),
            Action::EncodeSnapshot { state, metadata } => {
                self.snapshot_since = Some(Instant::now());
                self.encode_snapshot(state, metadata);
            }
            Action::ToPeer(message) => self.peers.send(message),
            Action::FetchPages { message, pages } => {
                self.peers.fetch(self.pages.store().clone(), message, pages);
            }
            Action::Strange(why) => {
                let why = why.to_string();
                if self.strange != why {
                    tracing::error!(why, "a message of a peer is not taken");
                    self.strange = why;
                }
            }
            Action::Answer(ticket, answer) => {
                if let Some(sender) = self.answers.remove(&ticket) {
                    // The client may have gone.
                    let _gone = sender.send(answer);
                }
            }
            Action::ToAgent(session, message) => {
                self.page_times.sent(session, &message, &self.metrics);
                self.send_to_agent(session, message);
            }
            Action::CloseSession(session, why) => {
                tracing::info!(session = session.0, why, "closing an agent's session");
                self.agents.remove(&session);
                self.page_times.closed(session);
            }
            // Kept already.
            Action::KeepPage { .. } => {}
            Action::JobChanged(job) => self.watchers.changed(job),
            Action::Live(chunks) => {
                for chunk in chunks {
                    self.watchers.live(chunk);
                }
            }
            Action::Measured(measure) => self.metrics.measured(measure),
            Action::Halt(malformed) => return Err(malformed.into()),
        }
        Ok(())
    }

    /// An agent whose queue is full does not read: its connection is dropped, and it comes back.
    fn send_to_agent(&mut self, session: SessionId, message: MasterMessage) {
        let Some(agent) = self.agents.get(&session) else { return };
        if agent.try_send(message).is_err() {
            tracing::warn!(session = session.0, "an agent does not take its messages");
            self.agents.remove(&session);
        }
    }

    fn encode_snapshot(&self, state: Box<ClusterState>, metadata: Vec<u8>) {
        let (pages, encoded) = (self.pages.clone(), self.encoded.clone());
        // Ends by itself: it waits for the store and for this loop, and both end before it can
        // wait for ever.
        tokio::spawn(async move {
            let index = state.applied;
            let encoding = pages.make_durable().await;
            let encode =
                move || LogSnapshot { index, metadata, state: snapshot::encode(&state).into() };
            let result = match encoding {
                Ok(pages) => match tokio::task::spawn_blocking(encode).await {
                    Ok(snapshot) => Ok((snapshot, pages)),
                    Err(_stopping) => return,
                },
                Err(error) => Err(error),
            };
            let _stopping = encoded.send(result).await;
        });
    }
}

/// The members but for this one.
fn others(control: &Control) -> impl Iterator<Item = (&NodeId, &Member)> {
    let us = control.node();
    control.state().members.iter().filter(move |(node, _)| **node != us)
}

/// A queue of messages to an agent.
pub(crate) fn agent_queue() -> (mpsc::Sender<MasterMessage>, mpsc::Receiver<MasterMessage>) {
    mpsc::channel(AGENT_QUEUE)
}

/// Now, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
