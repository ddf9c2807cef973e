//! The agents' shell in a simulation: [`Session`] with a fake executor, connections that break, and
//! what must hold after each step.

use std::{collections::BTreeMap, fmt};

use weir_agent::{
    executor::{End, Finished},
    session::{Action, Event, Recalibration, Session},
};
use weir_master::control::SessionId;
use weir_proto::{
    agent::{AgentDescription, AgentMessage, LiveChunk, MasterMessage},
    id::{AgentId, ClusterId, Incarnation, LeaseId, StageId},
    limits::Resources,
    range::TaskRange,
    wire,
};
use weir_scheduler::state::ClusterState;

use super::{
    Fact,
    executor::{Attempt, Begun, Executor},
    network::Way,
    observer,
    random::Random,
    workload,
    world::{Happening, World, trace},
};

/// Most leases that an agent holds, with those whose last pages are on their way.
const MAX_HELD_LEASES: usize = 64;
/// An agent's session gets a tick this often even when it asked for none.
const TICK_EVERY_US: u64 = 1_000_000;
/// Tasks end at multiples of this.
const ENDS_EVERY_US: u64 = 10_000;
/// Agents measure their machines far more often than real ones.
const RECALIBRATION: Recalibration = Recalibration { idle_ms: 200, every_ms: 1_000 };
/// What an agent may measure while there are faults, and what it measures after them.
const SPEEDS: [u64; 4] = [900_000_000, 980_000_000, 1_000_000_000, 1_300_000_000];
const LAST_SPEED: u64 = 1_500_000_000;

/// An agent's machine.
pub(super) struct AgentHost {
    pub(super) id: AgentId,
    resources: Resources,
    process: Option<Process>,
    /// One in so many tasks cannot run there while there are faults.
    flakiness: u64,
    /// Pages on its disk.
    kept: BTreeMap<u64, (ClusterId, Vec<u8>)>,
    /// The master that it dials next.
    master: usize,
    /// Until when it cannot reach any master.
    pub(super) cut_off_until_us: u64,
}

/// One life of an agent's process.
struct Process {
    incarnation: u64,
    /// How many pages of earlier lives it began with.
    earlier: u64,
    session: Session,
    executor: Executor,
    connection: Option<SessionId>,
    wakes_us: Option<u64>,
    /// Results are about to be taken from the executor.
    is_taking: bool,
    started_us: u64,
    /// Somebody told it to stop.
    is_stopped: bool,
    /// Whether a figure that is being measured is wanted.
    is_speed_wanted: bool,
    /// Attempts that end at a time, together.
    ends: BTreeMap<u64, Vec<(LeaseId, u32, Attempt)>>,
}

impl AgentHost {
    pub(super) fn new(number: usize, random: &mut Random) -> AgentHost {
        let cpu_millis = random.pick(&[2_000, 3_000, 4_000]);
        let memory_bytes = random.pick(&[1 << 30, 4 << 30]);
        // One has as many as any task wants.
        let gpus = if number == 0 { 2 } else { random.pick(&[0, 1, 3]) };
        AgentHost {
            id: AgentId(0xa0 + number as u64),
            resources: Resources {
                countables: [("gpu", gpus)].into_iter().collect(),
                ..Resources::new(cpu_millis, memory_bytes)
            },
            process: None,
            flakiness: random.pick(&[10, 100, 1_000]),
            kept: BTreeMap::new(),
            master: 0,
            cut_off_until_us: 0,
        }
    }

    /// It is up and holds nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.session.leases() == 0)
    }

    /// Whether it has any of these tasks, and they have not ended.
    pub(super) fn holds(&self, stage: StageId, range: TaskRange) -> bool {
        self.process.as_ref().is_some_and(|process| process.executor.holds(stage, range))
    }

    /// Whether the master knows what the agent measures after all faults.
    pub(super) fn is_speed_known_to(&self, state: &ClusterState) -> bool {
        let known = state.agents.get(&self.id);
        known.is_some_and(|known| known.description.fuel_per_second == LAST_SPEED)
    }

    fn describe(&self, incarnation: u64, fuel_per_second: u64) -> AgentDescription {
        AgentDescription {
            id: self.id,
            incarnation: Incarnation(incarnation),
            name: "simulated".to_owned(),
            architecture: "none".to_owned(),
            profile: "weir-1".to_owned(),
            epoch_profile: None,
            resources: self.resources.clone(),
            fuel_per_second,
            version: "0".to_owned(),
        }
    }
}

impl fmt::Display for AgentHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(process) = &self.process else { return write!(f, "{} is down", self.id) };
        write!(f, "{} holds {} leases", self.id, process.session.leases())?;
        write!(f, " and runs [{}]", process.executor.describe())
    }
}

impl World {
    pub(super) fn agent_starts(&mut self, agent: usize) {
        if self.agents[agent].process.is_some() {
            return;
        }
        let incarnation = self.random.id();
        trace!(self, "agent {agent} starts");
        let speed = self.random.pick(&SPEEDS);
        let host = &mut self.agents[agent];
        let kept: Vec<_> = std::mem::take(&mut host.kept).into_values().collect();
        host.kept = (1..).zip(kept.iter().cloned()).collect();
        let (told, description) = (kept.len(), host.describe(incarnation, speed));
        let session = Session::new(description, RECALIBRATION, kept);
        trace!(self, "agent {agent} has {told} pages of earlier lives");
        self.agents[agent].process = Some(Process {
            incarnation,
            earlier: told as u64,
            session,
            executor: Executor::default(),
            connection: None,
            wakes_us: None,
            is_taking: false,
            started_us: self.now_us,
            is_stopped: false,
            is_speed_wanted: false,
            ends: BTreeMap::new(),
        });
        self.step_agent(agent, Event::Tick);
    }

    pub(super) fn agent_crashes(&mut self, agent: usize, down_us: u64, notice_us: u64) {
        let Some(process) = self.agents[agent].process.take() else { return };
        trace!(self, "agent {agent} crashes, back in {down_us} us");
        self.counts.add(Fact::AgentCrash, 1);
        if let Some(session) = process.connection {
            self.network.cut(session, Way::ToAgent);
            if self.random.one_in(2) {
                self.network.cut(session, Way::ToMaster);
            }
            self.close_to_master(session, notice_us);
            self.network.noticed(session, Way::ToAgent);
        }
        self.after(down_us, Happening::AgentStarts(agent));
    }

    /// Somebody tells an agent's process to stop.
    pub(super) fn agent_is_stopped(&mut self, agent: usize) {
        if let Some(process) = &mut self.agents[agent].process {
            process.is_stopped = true;
            self.step_agent(agent, Event::Leave);
        }
    }

    /// An agent's session has nothing left to do: its process ends, and is started again later.
    fn agent_ends(&mut self, agent: usize) {
        let Some(process) = self.agents[agent].process.take() else { return };
        trace!(self, "agent {agent} ends");
        let why = if process.is_stopped { Fact::Left } else { Fact::Drained };
        self.counts.add(why, 1);
        if let Some(session) = process.connection {
            let delay_us = self.message_delay_us();
            self.close_to_master(session, delay_us);
            self.network.noticed(session, Way::ToAgent);
        }
        let down_us = self.random.mostly_short(1_000, 5_000_000);
        self.after(down_us, Happening::AgentStarts(agent));
    }

    pub(super) fn agent_notices(&mut self, session: SessionId) {
        self.network.noticed(session, Way::ToAgent);
        let Some(agent) = self.agents.iter().position(|a| a.connection() == Some(session)) else {
            return;
        };
        trace!(self, "agent {agent} notices the end of {session:?}");
        let delay_us = self.message_delay_us();
        self.close_to_master(session, delay_us);
        if let Some(process) = &mut self.agents[agent].process {
            process.connection = None;
        }
        self.step_agent(agent, Event::Disconnected);
    }

    /// An agent leaves a master that is no longer the leader.
    fn agent_hangs_up(&mut self, agent: usize) {
        let process = self.agents[agent].process.as_mut();
        let Some(session) = process.and_then(|process| process.connection.take()) else { return };
        trace!(self, "agent {agent} leaves {session:?}");
        self.network.noticed(session, Way::ToAgent);
        let delay_us = self.message_delay_us();
        self.close_to_master(session, delay_us);
    }

    pub(super) fn dialled(&mut self, agent: usize, incarnation: u64) {
        let master = self.agents[agent].master;
        self.agents[agent].master = self.whom_to_ask(master);
        let is_up = self.masters[master].control.is_some();
        // Whoever dials a master that does not lead is mostly told so at once.
        let is_told = !self.masters[master].leads() && !self.random.one_in(4);
        let reachable = self.now_us >= self.agents[agent].cut_off_until_us;
        let Some(process) = self.agents[agent].life(incarnation) else { return };
        if !is_up || is_told || !reachable {
            return self.step_agent(agent, Event::Disconnected);
        }
        let session = self.network.open(master);
        process.connection = Some(session);
        trace!(self, "agent {agent} connects: {session:?}");
        self.session_opens(master, session);
        self.step_agent(agent, Event::Connected);
    }

    pub(super) fn agent_receives(&mut self, session: SessionId, message: MasterMessage) {
        if !self.network.arrives(session, Way::ToAgent) {
            return;
        }
        let Some(agent) = self.agents.iter().position(|a| a.connection() == Some(session)) else {
            return;
        };
        trace!(self, "agent {agent} hears {message:?}");
        self.counts.add(Fact::Recalled, matches!(message, MasterMessage::Recall(_)).into());
        self.step_agent(agent, Event::Received(message));
    }

    pub(super) fn agent_wakes(&mut self, agent: usize, at_us: u64) {
        let process = self.agents[agent].process.as_ref();
        if process.is_some_and(|process| process.wakes_us == Some(at_us)) {
            self.step_agent(agent, Event::Tick);
        }
    }

    pub(super) fn prepared(&mut self, agent: usize, incarnation: u64, lease: LeaseId) {
        let works = !(self.goes_wrong(30));
        let Some(process) = self.agents[agent].life(incarnation) else { return };
        process.executor.prepared(lease, works);
        self.go_on(agent);
    }

    pub(super) fn tasks_end(&mut self, agent: usize, incarnation: u64, at_us: u64) {
        let process = self.agents[agent].life(incarnation);
        let ended = process.and_then(|process| process.ends.remove(&at_us)).unwrap_or_default();
        for (lease, index, attempt) in ended {
            self.task_ends(agent, incarnation, (lease, index), attempt);
        }
        if self.agents[agent].life(incarnation).is_some() {
            self.go_on(agent);
        }
    }

    /// Attempts end in steps of time, so that many short ones are one event.
    fn will_end(&mut self, agent: usize, ends: (LeaseId, u32, Attempt), delay_us: u64) {
        let at_us = (self.now_us + delay_us).next_multiple_of(ENDS_EVERY_US);
        let Some(process) = &mut self.agents[agent].process else { return };
        let incarnation = process.incarnation;
        let together = process.ends.entry(at_us).or_default();
        together.push(ends);
        if together.len() == 1 {
            self.at(at_us, Happening::TasksEnd { agent, incarnation, at_us });
        }
    }

    fn task_ends(
        &mut self,
        agent: usize,
        incarnation: u64,
        (lease, index): (LeaseId, u32),
        attempt: Attempt,
    ) {
        let cannot_run = self.goes_wrong(self.agents[agent].flakiness);
        let Some(process) = self.agents[agent].life(incarnation) else { return };
        let mut is_poison = false;
        process.executor.end(lease, index, attempt, |spec| {
            is_poison = workload::behaviour(spec, index).is_poison;
            // One that has begun would not go back.
            if cannot_run && !spec.once {
                return End::CannotRun { reason: "an input cannot be fetched".to_owned() };
            }
            End::Result(workload::result(spec, index, attempt.wall_us))
        });
        if is_poison {
            let down_us = self.random.between(100_000, 2_000_000);
            self.counts.add(Fact::Poison, 1);
            self.agent_crashes(agent, down_us, 1_000);
        }
    }

    pub(super) fn measured(&mut self, agent: usize, incarnation: u64) {
        let speed = if self.is_faulty() { self.random.pick(&SPEEDS) } else { LAST_SPEED };
        let Some(process) = self.agents[agent].life(incarnation) else { return };
        let figure = process.is_speed_wanted.then_some(speed);
        let fact = if figure.is_some() { Fact::Measured } else { Fact::MeasuredInVain };
        self.counts.add(fact, 1);
        self.step_agent(agent, Event::Calibrated(figure));
    }

    pub(super) fn results_taken(&mut self, agent: usize, incarnation: u64) {
        let show = self.random.one_in(50);
        let Some(process) = self.agents[agent].life(incarnation) else { return };
        process.is_taking = false;
        let finished = process.executor.take_finished();
        let cannot_run = |ended: &&Finished| matches!(ended.end, End::CannotRun { .. });
        self.counts.add(Fact::Returned, finished.iter().filter(cannot_run).count() as u64);
        let live = finished.first().filter(|_| show).map(|ended| LiveChunk {
            task: ended.task,
            stderr: false,
            offset: 0,
            data: b"output".to_vec(),
        });
        self.step_agent(agent, Event::Finished(finished));
        if let Some(chunk) = live {
            self.step_agent(agent, Event::Live(vec![chunk]));
        }
    }

    fn step_agent(&mut self, agent: usize, event: Event) {
        let now_us = self.now_us;
        let Some(process) = &mut self.agents[agent].process else { return };
        let now_ms = (now_us - process.started_us) / 1_000;
        let incarnation = process.incarnation;
        let mut withdrawn = Vec::new();
        for action in process.session.step(event, process.executor.running(), now_ms) {
            match action {
                Action::Connect => {
                    let delay_us = self.message_delay_us();
                    self.after(delay_us, Happening::Dialled { agent, incarnation });
                }
                Action::Disconnect => self.agent_hangs_up(agent),
                Action::Send(message) => self.send_to_master(agent, message),
                Action::Run(lease) => {
                    let id = lease.id;
                    let process = self.agents[agent].life(incarnation);
                    if process.is_some_and(|process| process.executor.grant(*lease)) {
                        let delay_us = self.random.mostly_short(10, 200_000);
                        let lease = id;
                        self.after(delay_us, Happening::Prepared { agent, incarnation, lease });
                    }
                }
                Action::Stop(lease) => {
                    if let Some(process) = self.agents[agent].life(incarnation) {
                        process.executor.stop(lease);
                    }
                }
                Action::Withdraw(lease, tasks) => {
                    if let Some(process) = self.agents[agent].life(incarnation) {
                        withdrawn.push((lease, process.executor.withdraw(lease, &tasks)));
                    }
                }
                Action::Pause(lease, tasks) => {
                    let Some(process) = self.agents[agent].life(incarnation) else { continue };
                    let (queued, began, due) = process.executor.pause(lease, tasks);
                    withdrawn.push((lease, queued));
                    self.counts.add(Fact::Paused, began);
                    for (index, attempt) in due {
                        let delay_us = self.random.mostly_short(10, 200_000);
                        self.will_end(agent, (lease, index, attempt), delay_us);
                    }
                }
                Action::Keep { seq, cluster, page } => {
                    self.agents[agent].kept.insert(seq, (cluster, page));
                }
                Action::Forget(seq) => {
                    if let Some((_, page)) = self.agents[agent].kept.remove(&seq) {
                        self.check_kept(agent, seq, &page);
                    }
                }
                Action::End => return self.agent_ends(agent),
                Action::Calibrate => {
                    if let Some(process) = self.agents[agent].life(incarnation) {
                        process.is_speed_wanted = true;
                    }
                    self.after(100_000, Happening::Measured { agent, incarnation });
                }
                Action::StopCalibrating => {
                    if let Some(process) = self.agents[agent].life(incarnation) {
                        process.is_speed_wanted = false;
                    }
                }
                // No client here asks for it.
                Action::Precompile(..) => {}
            }
        }
        if !withdrawn.is_empty() {
            return self.step_agent(agent, Event::Withdrawn(withdrawn));
        }
        self.go_on(agent);
    }

    /// A kept page is no longer needed.
    fn check_kept(&mut self, agent: usize, seq: u64, page: &[u8]) {
        let Some(process) = &self.agents[agent].process else { return };
        let is_earlier = seq <= process.earlier;
        let Some(state) = self.leaders_state().filter(|_| is_earlier) else { return };
        let accepted = observer::has_accepted(state, page);
        self.counts.add(Fact::KeptPage, accepted.into());
    }

    fn send_to_master(&mut self, agent: usize, message: AgentMessage) {
        let Some(session) = self.agents[agent].connection() else { return };
        let parsed = AgentMessage::try_from(wire::AgentMessage::from(message.clone()));
        assert_eq!(parsed.as_ref(), Ok(&message), "what an agent sends is a message");
        if let AgentMessage::Returned { reason: Some(reason), .. } = &message {
            // The leader counts as the agent does: what it grants fits.
            assert!(reason.ends_with("cannot be fetched"), "agent {agent} refuses: {reason}");
        }
        let repeat = matches!(message, AgentMessage::Pages { .. }) && self.goes_wrong(15);
        self.counts.add(Fact::RepeatedPages, u64::from(repeat));
        for _ in 0..1 + u32::from(repeat) {
            let delay_us = self.message_delay_us();
            if let Some(at_us) = self.network.send(session, Way::ToMaster, self.now_us, delay_us) {
                self.at(at_us, Happening::ToMaster(session, message.clone()));
            }
        }
    }

    /// Lets tasks begin, results be taken and the session wake; checks what must hold.
    fn go_on(&mut self, agent: usize) {
        let now_us = self.now_us;
        let resources = self.agents[agent].resources.clone();
        let Some(process) = &mut self.agents[agent].process else { return };
        let incarnation = process.incarnation;
        let random = &mut self.random;
        let begun = process.executor.begin(now_us, |spec, index| {
            let duration_us = workload::behaviour(spec, index).duration_us;
            duration_us + random.between(0, 50 + duration_us / 4)
        });
        let take = process.executor.has_finished() && !process.is_taking;
        process.is_taking |= take;
        let session_us = process.session.next_wakeup_ms().map(|ms| process.started_us + ms * 1_000);
        let wakes_us = session_us.unwrap_or(u64::MAX).min(now_us + TICK_EVERY_US).max(now_us + 1);
        let wake = process.wakes_us.is_none_or(|known| known <= now_us || wakes_us < known);
        if wake {
            process.wakes_us = Some(wakes_us);
        }
        let used = process.executor.used();
        assert!(
            resources.covers(&used),
            "agent {agent} has {resources} and what runs takes {used}: {}",
            process.executor.describe()
        );
        assert!(process.session.leases() <= MAX_HELD_LEASES, "agent {agent} hoards leases");
        if wake {
            self.at(wakes_us, Happening::AgentWakes { agent, at_us: wakes_us });
        }
        if take {
            let delay_us = self.random.between(0, 30_000);
            self.after(delay_us, Happening::ResultsTaken { agent, incarnation });
        }
        for begun in begun {
            let Begun { lease, task, attempt, once } = begun;
            let again = once && !self.begun_once.insert(task);
            assert!(!again, "{task} runs at most once, and begins on agent {agent} again");
            self.will_end(agent, (lease, task.index, attempt), attempt.wall_us);
        }
    }
}

impl AgentHost {
    pub(super) fn connection(&self) -> Option<SessionId> {
        self.process.as_ref().and_then(|process| process.connection)
    }

    /// Its process, if it is still in this life.
    fn life(&mut self, incarnation: u64) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.incarnation == incarnation)
    }
}
