//! The loop between an agent's session, its executor and a master: it moves messages and decides
//! nothing.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use weir_proto::{
    agent::MasterMessage,
    wire::{self, agents_client::AgentsClient},
};

use crate::{
    calibrate::Recalibrator,
    executor::Executor,
    kept::KeptPages,
    precompile::Precompiler,
    session::{Action, Event, Session},
};

/// Messages that a connection has not taken; beyond it the connection counts as broken.
const SEND_QUEUE: usize = 1_024;
/// Most bytes of one message from a master: many leases, each with its stage.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// After so many results at once the next are taken this much later: under load they come in
/// batches, and the result of a lone task never waits.
const MANY_RESULTS: usize = 16;
const TAKE_EVERY: Duration = Duration::from_millis(1);
/// Output of running tasks is looked for this often.
const LIVE_EVERY: Duration = Duration::from_millis(50);
/// The session gets a tick this often even when it asked for none.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// An agent's loop.
pub(crate) struct Link {
    session: Session,
    executor: Executor,
    precompiler: Precompiler,
    recalibrator: Recalibrator,
    kept: KeptPages,
    master: AgentsClient<Channel>,
    connection: Connection,
    started: Instant,
    /// When many results were last taken, and whether there are new ones.
    taken: Instant,
    untaken: bool,
    /// Where the master should be, and whether its absence was told.
    address: String,
    alone: bool,
    /// Whether the session has nothing left to do.
    ended: bool,
}

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<wire::MasterMessage>, Status>> + Send>>;

enum Connection {
    None,
    Opening { sender: mpsc::Sender<wire::AgentMessage>, opening: Opening },
    Open { sender: mpsc::Sender<wire::AgentMessage>, messages: Box<Streaming<wire::MasterMessage>> },
}

impl Link {
    pub(crate) fn new(
        session: Session,
        executor: Executor,
        precompiler: Precompiler,
        recalibrator: Recalibrator,
        kept: KeptPages,
        channel: Channel,
        address: String,
    ) -> Link {
        let master = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let now = Instant::now();
        let connection = Connection::None;
        Link {
            session,
            executor,
            precompiler,
            recalibrator,
            kept,
            master,
            connection,
            started: now,
            taken: now,
            untaken: false,
            address,
            alone: false,
            ended: false,
        }
    }

    /// Runs until the leader wants the agent to leave, or until `shutdown` resolves and what the agent
    /// has is given back; then stops the executor.
    pub(crate) async fn run(mut self, mut shutdown: oneshot::Receiver<()>) {
        let mut live = tokio::time::interval(LIVE_EVERY);
        live.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leaving = false;
        self.step(Event::Tick);
        while !self.ended {
            let wakeup = self.wakeup();
            tokio::select! {
                biased;
                _ = &mut shutdown, if !leaving => {
                    leaving = true;
                    self.step(Event::Leave);
                }
                event = self.connection.next() => self.step(event),
                () = results(&self.executor, &mut self.untaken, self.taken) => {
                    self.untaken = false;
                    let finished = self.executor.take_finished();
                    if finished.len() >= MANY_RESULTS {
                        self.taken = Instant::now();
                    }
                    if !finished.is_empty() {
                        self.step(Event::Finished(finished));
                    }
                }
                (module, came) = self.precompiler.next() => {
                    self.step(Event::Precompiled(module, came));
                }
                figure = self.recalibrator.next() => self.step(Event::Calibrated(figure)),
                _ = live.tick() => {
                    let chunks = self.executor.take_live();
                    if !chunks.is_empty() {
                        self.step(Event::Live(chunks));
                    }
                }
                () = tokio::time::sleep(wakeup) => self.step(Event::Tick),
            }
        }
        let (executor, kept) = (self.executor, self.kept);
        let end = move || {
            executor.shutdown();
            drop(kept);
        };
        // Waits for workers, so not on this thread; if it cannot be spawned the process is ending.
        let _ended = tokio::task::spawn_blocking(end).await;
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn wakeup(&self) -> Duration {
        let due = self.session.next_wakeup_ms().map(|due| due.saturating_sub(self.now_ms()));
        due.map_or(TICK_EVERY, Duration::from_millis).min(TICK_EVERY)
    }

    fn step(&mut self, event: Event) {
        let mut lost = false;
        match event {
            Event::Disconnected => {
                self.connection = Connection::None;
                lost = true;
            }
            Event::Received(_) if std::mem::replace(&mut self.alone, false) => {
                tracing::warn!(master = self.address, "the master answers");
            }
            _ => {}
        }
        let running = self.executor.running();
        self.session.prepares(self.executor.preparing());
        let now_ms = self.now_ms();
        let mut withdrawn = Vec::new();
        for action in self.session.step(event, running, now_ms) {
            match action {
                Action::Connect => self.connect(),
                Action::Disconnect => {
                    tracing::info!(master = self.address, "its leader was deposed: leaving it");
                    self.connection = Connection::None;
                }
                Action::Send(message) => self.send(message.into()),
                Action::Run(lease) => self.executor.grant(&lease),
                Action::Stop(lease) => self.executor.stop(lease),
                Action::Withdraw(lease, tasks) => {
                    withdrawn.push((lease, self.executor.withdraw(lease, &tasks)));
                }
                Action::Pause(lease, tasks) => {
                    withdrawn.push((lease, self.executor.pause(lease, &tasks)));
                }
                Action::Keep { seq, cluster, page } => self.kept.keep(seq, (cluster, page)),
                Action::Forget(seq) => self.kept.forget(seq),
                Action::End => self.ended = true,
                Action::Precompile(namespace, module) => self.precompiler.ask(namespace, module),
                Action::Calibrate => self.recalibrator.begin(),
                Action::StopCalibrating => self.recalibrator.give_up(),
            }
        }
        // Whoever said goodbye waits for just that.
        if lost && !self.ended && !std::mem::replace(&mut self.alone, true) {
            tracing::warn!(master = self.address, "no master answers; trying again");
        }
        if !withdrawn.is_empty() {
            self.step(Event::Withdrawn(withdrawn));
        }
    }

    fn connect(&mut self) {
        let (sender, receiver) = mpsc::channel(SEND_QUEUE);
        let mut master = self.master.clone();
        let opening = Box::pin(async move {
            let response = master.session(ReceiverStream::new(receiver)).await?;
            Ok(response.into_inner())
        });
        self.connection = Connection::Opening { sender, opening };
    }

    /// A full queue means that nobody reads at the other end. Closing our half ends the stream,
    /// and its end is reported like any other.
    fn send(&mut self, message: wire::AgentMessage) {
        let (Connection::Opening { sender, .. } | Connection::Open { sender, .. }) =
            &mut self.connection
        else {
            return;
        };
        if sender.try_send(message).is_err() {
            tracing::warn!("the master does not take messages: closing the connection");
            *sender = mpsc::channel(1).0;
        }
    }
}

/// Waits for results, and until they may be taken. May be dropped and called again: `untaken`
/// remembers that there are some.
async fn results(executor: &Executor, untaken: &mut bool, taken: Instant) {
    if !*untaken {
        executor.changed().await;
        *untaken = true;
    }
    let since = taken.elapsed();
    if since < TAKE_EVERY {
        tokio::time::sleep(TAKE_EVERY - since).await;
    }
}

impl Connection {
    /// The next event of the connection; never, while there is none. May be dropped and called
    /// again without losing anything.
    async fn next(&mut self) -> Event {
        match self {
            Connection::None => std::future::pending().await,
            Connection::Opening { opening, .. } => {
                let opened = opening.as_mut().await;
                self.opened(opened)
            }
            Connection::Open { messages, .. } => match messages.message().await {
                Ok(Some(message)) => match MasterMessage::try_from(message) {
                    Ok(message) => Event::Received(message),
                    Err(error) => {
                        tracing::warn!(%error, "a master sent what is no message");
                        Event::Disconnected
                    }
                },
                Ok(None) => Event::Disconnected,
                Err(status) => {
                    tracing::info!(message = status.message(), "the connection broke");
                    Event::Disconnected
                }
            },
        }
    }

    fn opened(&mut self, opened: Result<Streaming<wire::MasterMessage>, Status>) -> Event {
        match (opened, std::mem::replace(self, Connection::None)) {
            (Ok(messages), Connection::Opening { sender, .. }) => {
                *self = Connection::Open { sender, messages: Box::new(messages) };
                Event::Connected
            }
            (Err(status), _) => {
                tracing::debug!(message = status.message(), "no connection to the master");
                Event::Disconnected
            }
            (Ok(_), Connection::None | Connection::Open { .. }) => Event::Disconnected,
        }
    }
}
