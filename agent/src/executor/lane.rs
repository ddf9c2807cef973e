//! A lane: the tasks of one lease, and the slots in which they run.
//!
//! One lock guards it all, taken once per task: a slot hands in a result and takes its next task
//! in one go. Who runs a task is `attempt`; who makes lanes is the executor.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;
use weir_proto::{
    agent::LiveChunk,
    id::{LeaseId, Namespace, StageId},
    job::StageSpec,
    lease::Lease,
    outcome::{Outcome, Usage},
    page::TaskResult,
    range::{RangeSet, TaskRange},
};

use super::{
    End, Finished,
    fair::Group,
    prepare::Prepared,
    queue::{RunQueue, Ticket},
};
use crate::sandbox::{OutputBuffer, StageKey};

/// Most results of a lane that wait to be taken; then its slots stand still until they are.
const MAX_UNTAKEN: usize = 16_384;

/// Output of attempts that are younger is not shown live: it mostly comes with the result.
const LIVE_AFTER: Duration = Duration::from_millis(50);

/// Most bytes of one stream that are shown in one go.
const MAX_LIVE_BYTES: usize = 64 << 10;

/// The tasks of a lease, and what they have in common.
pub(super) struct Lane {
    pub(super) id: LeaseId,
    pub(super) stage: StageId,
    pub(super) namespace: Namespace,
    pub(super) spec: Arc<StageSpec>,
    pub(super) key: StageKey,
    /// The groups that its slots share the cores in.
    pub(super) path: Vec<Group>,
    state: Mutex<LaneState>,
}

struct LaneState {
    life: Life,
    queued: RangeSet,
    running: HashMap<u32, Running>,
    /// Most tasks that may run at once.
    slots: u32,
    /// How many slots' loops there are.
    active: u32,
    /// One for each slot ever used; dropping one cancels what runs in it.
    loops: Vec<SlotLoop>,
    idle_loops: Vec<usize>,
    finished: Vec<Finished>,
    idle_since: Instant,
}

enum Life {
    /// Nothing was prepared, or the world failed us on the way.
    Unprepared,
    /// Fetching and compiling.
    Preparing(Preparation),
    /// Tasks can run.
    Ready(Arc<Prepared>),
    /// Tasks of this lane can never run, and end like this.
    Refused(Outcome),
    /// Nobody wants its results any more.
    Stopped,
}

/// What runs a slot's tasks; dropping it cancels what runs there.
pub(super) struct SlotLoop {
    #[expect(dead_code, reason = "to be dropped")]
    pub(super) task: async_task::Task<()>,
    /// Its place in the queue.
    pub(super) ticket: Ticket,
}

/// How far a lane is on its way to its first task.
#[derive(Default)]
struct Preparation {
    /// The loop that does it, once it is known.
    loop_of_it: Option<AbortHandle>,
    since: Since,
}

/// Since when a lane has been doing what it does before its first task.
#[derive(Debug, Clone, Copy)]
pub(super) enum Since {
    /// Waits for the module.
    Module(Instant),
    /// Fetches inputs and lays them out.
    Inputs(Instant),
}

impl Default for Since {
    fn default() -> Since {
        Since::Module(Instant::now())
    }
}

struct Running {
    slot: usize,
    since: Instant,
    /// Whether it stands still.
    paused: bool,
    streams: [Stream; 2],
}

struct Stream {
    output: OutputBuffer,
    shown: u64,
}

/// A task that a slot is to run.
pub(super) struct Turn {
    pub(super) index: u32,
    pub(super) stdout: OutputBuffer,
    pub(super) stderr: OutputBuffer,
}

/// Why a lane was not prepared.
pub(super) enum NotPrepared {
    /// Tell every task that it ended so.
    Refused(Outcome),
    /// The world failed us.
    CannotRun(String),
}

impl Lane {
    pub(super) fn new(lease: &Lease) -> Lane {
        Lane {
            id: lease.id,
            stage: lease.stage,
            namespace: lease.namespace.clone(),
            spec: Arc::new(lease.spec.clone()),
            key: StageKey::new(&lease.spec),
            path: path(lease),
            state: Mutex::new(LaneState {
                life: Life::Unprepared,
                queued: RangeSet::new(),
                running: HashMap::new(),
                slots: lease.slots,
                active: 0,
                loops: Vec::new(),
                idle_loops: Vec::new(),
                finished: Vec::new(),
                idle_since: Instant::now(),
            }),
        }
    }

    /// Adds tasks; those that run already are not run twice. Returns whether it must be prepared.
    pub(super) fn add(&self, range: TaskRange, slots: u32) -> bool {
        let mut state = self.lock();
        state.slots = slots;
        let mut added = RangeSet::from_iter([range]);
        for index in state.running.keys() {
            added.remove(TaskRange::new(*index, *index + 1));
        }
        state.queued.insert_all(&added);
        match &state.life {
            Life::Unprepared => {
                state.life = Life::Preparing(Preparation::default());
                true
            }
            Life::Refused(outcome) => {
                let outcome = outcome.clone();
                self.end_queued(&mut state, || result(&outcome));
                false
            }
            Life::Preparing(_) | Life::Ready(_) | Life::Stopped => false,
        }
    }

    /// Remembers the loop that prepares it, so that it can be cancelled.
    pub(super) fn preparing(&self, loop_of_it: AbortHandle) {
        let mut state = self.lock();
        match &mut state.life {
            Life::Preparing(known) => known.loop_of_it = Some(loop_of_it),
            // It was quicker than we are.
            Life::Unprepared | Life::Ready(_) | Life::Refused(_) => {}
            Life::Stopped => loop_of_it.abort(),
        }
    }

    /// Its module is there.
    pub(super) fn has_module(&self) {
        if let Life::Preparing(preparation) = &mut self.lock().life {
            preparation.since = Since::Inputs(Instant::now());
        }
    }

    /// What it does before its first task, if it does.
    pub(super) fn prepares(&self) -> Option<Since> {
        match &self.lock().life {
            Life::Preparing(preparation) => Some(preparation.since),
            Life::Unprepared | Life::Ready(_) | Life::Refused(_) | Life::Stopped => None,
        }
    }

    /// Takes what was prepared.
    pub(super) fn prepared(&self, prepared: Result<Arc<Prepared>, NotPrepared>) {
        let mut state = self.lock();
        if matches!(state.life, Life::Stopped) {
            return;
        }
        match prepared {
            Ok(prepared) => state.life = Life::Ready(prepared),
            Err(NotPrepared::Refused(outcome)) => {
                self.end_queued(&mut state, || result(&outcome));
                state.life = Life::Refused(outcome);
            }
            Err(NotPrepared::CannotRun(reason)) => {
                self.end_queued(&mut state, || End::CannotRun { reason: reason.clone() });
                state.life = Life::Unprepared;
            }
        }
    }

    /// Starts a loop in every slot that has none while there are tasks for it.
    pub(super) fn fill(&self, start: impl Fn(usize, Arc<Prepared>) -> SlotLoop) {
        let mut state = self.lock();
        let state = &mut *state;
        let Life::Ready(prepared) = &state.life else { return };
        if state.finished.len() >= MAX_UNTAKEN {
            return;
        }
        // Loops that have not taken their first task yet have theirs among the queued.
        let starting = state.active.saturating_sub(state.running.len() as u32);
        let unserved = state.queued.len().saturating_sub(starting);
        for _ in 0..unserved.min(state.slots.saturating_sub(state.active)) {
            state.active += 1;
            match state.idle_loops.pop() {
                Some(slot) => state.loops[slot] = start(slot, prepared.clone()),
                None => state.loops.push(start(state.loops.len(), prepared.clone())),
            }
        }
    }

    /// The first task of a slot's loop; with none, the loop ends.
    pub(super) fn first_turn(&self, slot: usize) -> Option<Turn> {
        let mut state = self.lock();
        self.next_turn(&mut state, slot)
    }

    /// Takes the result of a slot's task; returns its next one. With none, the loop ends.
    pub(super) fn finish(
        &self,
        queue: &RunQueue,
        slot: usize,
        index: u32,
        end: End,
    ) -> Option<Turn> {
        let mut state = self.lock();
        if matches!(state.life, Life::Stopped) {
            return None;
        }
        // Whoever paused it came too late.
        if state.running.remove(&index).is_some_and(|running| running.paused) {
            queue.release(&state.loops[slot].ticket);
        }
        state.finished.push(self.finished(index, end));
        self.next_turn(&mut state, slot)
    }

    fn next_turn(&self, state: &mut LaneState, slot: usize) -> Option<Turn> {
        let stands_still = state.active > state.slots || state.finished.len() >= MAX_UNTAKEN;
        let taken = if stands_still { None } else { state.queued.take_first(1) };
        let Some(taken) = taken else {
            state.active -= 1;
            state.idle_loops.push(slot);
            state.idle_since = Instant::now();
            return None;
        };
        let limit = self.spec.limits.output_bytes;
        let turn = Turn {
            index: taken.start,
            stdout: OutputBuffer::new(limit),
            stderr: OutputBuffer::new(limit),
        };
        let streams =
            [&turn.stdout, &turn.stderr].map(|output| Stream { output: output.clone(), shown: 0 });
        let running = Running { slot, since: Instant::now(), paused: false, streams };
        state.running.insert(turn.index, running);
        Some(turn)
    }

    /// Takes tasks out, as far as they have not begun.
    pub(super) fn withdraw(&self, tasks: &RangeSet) -> RangeSet {
        self.lock().withdraw(tasks)
    }

    /// Lets these tasks stand still, and no others; takes those out that have not begun.
    pub(super) fn pause(&self, queue: &RunQueue, tasks: &RangeSet) -> RangeSet {
        let mut state = self.lock();
        let LaneState { running, loops, .. } = &mut *state;
        for (index, running) in running {
            let paused = tasks.contains(*index);
            let changed = std::mem::replace(&mut running.paused, paused) != paused;
            let ticket = &loops[running.slot].ticket;
            match (changed, paused) {
                (false, _) => {}
                (true, true) => queue.hold(ticket),
                (true, false) => queue.release(ticket),
            }
        }
        state.withdraw(tasks)
    }

    /// Takes what has finished, in the order in which it did.
    pub(super) fn take_finished(&self) -> Vec<Finished> {
        std::mem::take(&mut self.lock().finished)
    }

    /// The tasks that run now.
    pub(super) fn running(&self) -> Vec<u32> {
        self.lock().running.keys().copied().collect()
    }

    /// Takes output that was not shown yet, of attempts that have run for a while.
    pub(super) fn take_live(&self) -> Vec<LiveChunk> {
        let mut state = self.lock();
        let old = state.running.iter_mut().filter(|(_, run)| run.since.elapsed() >= LIVE_AFTER);
        let mut chunks = Vec::new();
        for (index, running) in old {
            for (stream, stderr) in running.streams.iter_mut().zip([false, true]) {
                let data = stream.output.read_from(stream.shown, MAX_LIVE_BYTES);
                if data.is_empty() {
                    continue;
                }
                let offset = stream.shown;
                stream.shown += data.len() as u64;
                chunks.push(LiveChunk { task: self.stage.task(*index), stderr, offset, data });
            }
        }
        chunks
    }

    /// Since when nothing of it is queued, runs, or waits to be taken.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        let busy = matches!(state.life, Life::Preparing(_))
            || state.active > 0
            || !state.queued.is_empty()
            || !state.finished.is_empty();
        (!busy).then_some(state.idle_since)
    }

    /// Ends it: what is queued is forgotten, what runs is cancelled, nothing is reported any more.
    pub(super) fn stop(&self, queue: &RunQueue) {
        let mut state = self.lock();
        // Who stands still could not be cancelled.
        for running in state.running.values().filter(|running| running.paused) {
            queue.release(&state.loops[running.slot].ticket);
        }
        let life = std::mem::replace(&mut state.life, Life::Stopped);
        let loops = std::mem::take(&mut state.loops);
        state.queued = RangeSet::new();
        state.running.clear();
        state.finished.clear();
        drop(state);
        if let Life::Preparing(Preparation { loop_of_it: Some(loop_of_it), .. }) = life {
            loop_of_it.abort();
        }
        // Dropping a loop cancels it, and may drop its future here and now.
        drop(loops);
    }

    fn end_queued(&self, state: &mut LaneState, end: impl Fn() -> End) {
        let queued = std::mem::take(&mut state.queued);
        state.finished.extend(queued.iter().map(|index| self.finished(index, end())));
        state.idle_since = Instant::now();
    }

    fn finished(&self, index: u32, end: End) -> Finished {
        Finished { lease: self.id, task: self.stage.task(index), end }
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneState {
    fn withdraw(&mut self, tasks: &RangeSet) -> RangeSet {
        let withdrawn = self.queued.intersection(tasks);
        self.queued.remove_all(&withdrawn);
        self.idle_since = Instant::now();
        withdrawn
    }
}

/// A lease's namespace, part by part, and its job.
fn path(lease: &Lease) -> Vec<Group> {
    let parts = lease.namespace.as_str().split('/').map(str::to_owned);
    let names = parts.chain([lease.stage.job.to_string()]);
    let weights = lease.weights.iter().copied().chain(std::iter::repeat(1));
    names.zip(weights).map(|(name, weight)| Group { name, weight }).collect()
}

/// The result of a task that never ran.
fn result(outcome: &Outcome) -> End {
    End::Result(TaskResult::without_output(outcome.clone(), Usage::default()))
}
