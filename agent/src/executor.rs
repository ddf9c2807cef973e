//! Runs the tasks of leases on the agent's cores.
//!
//! Each core has a worker thread. Each slot of a lease is a future that runs one task after the
//! other, without a trip through any loop in between; a guest that burns its quantum of fuel goes
//! back to the queue, and who has used least for its weight goes next. What tasks share is prepared
//! once per lease, off the workers. Results go to the agent's session, which takes them out; the next stop is `session`.

mod attempt;
mod fair;
mod inputs;
mod items;
mod lane;
mod prepare;
mod queue;
mod scratch;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};
use weir_proto::{
    agent::LiveChunk,
    id::{LeaseId, TaskId},
    lease::{Lease, PrepareStep, Preparing},
    page::TaskResult,
    range::RangeSet,
};

pub use self::scratch::ScratchError;
use self::{
    lane::{Lane, Since, SlotLoop},
    prepare::Prepared,
    queue::RunQueue,
};
use crate::{
    data::TaskData,
    modules::{ModuleCache, ModuleKey},
    sandbox::Sandbox,
};

/// Most lanes that fetch and lay out inputs at once; how many compile is the compiler's affair.
const MAX_PREPARING: usize = 8;

/// Most lanes that are kept prepared without having tasks, in case their lease gets more.
const MAX_IDLE_LANES: usize = 64;

/// How an executor is set up.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Worker threads; one per core.
    pub workers: usize,
    /// Where what guests write goes when it does not fit in memory. It is emptied at start: nothing
    /// else may be in it.
    pub scratch_dir: PathBuf,
}

/// The end of a task, as far as this agent is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The lease it came with.
    pub lease: LeaseId,
    /// The task.
    pub task: TaskId,
    /// How it ended.
    pub end: End,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are results, and a box for each costs")]
pub enum End {
    /// With a result, whatever it says.
    Result(TaskResult),
    /// The world failed us: nothing is known about the task.
    CannotRun {
        /// What went wrong, with its causes.
        reason: String,
    },
}

/// Why an executor did not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The scratch directory cannot be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The system has no more threads.
    #[error("cannot start worker {number}")]
    Worker {
        /// Which one, from 0.
        number: usize,
        /// What the system says.
        source: io::Error,
    },
}

/// The agent's workers, and the lanes of its leases. All methods may be called from any thread.
pub struct Executor {
    shared: Arc<Shared>,
    lanes: Mutex<HashMap<LeaseId, Arc<Lane>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What the loops of an executor's slots use.
struct Shared {
    sandbox: Arc<Sandbox>,
    modules: Arc<ModuleCache>,
    data: Arc<dyn TaskData>,
    runtime: Handle,
    scratch_dir: PathBuf,
    queue: Arc<RunQueue>,
    preparing: Semaphore,
    /// Whether something finished since results were last taken.
    news: AtomicBool,
    changed: Notify,
}

impl Executor {
    /// Starts the workers.
    ///
    /// # Errors
    /// `Scratch` or `Worker`.
    pub fn start(
        config: ExecutorConfig,
        sandbox: Arc<Sandbox>,
        modules: Arc<ModuleCache>,
        data: Arc<dyn TaskData>,
        runtime: Handle,
    ) -> Result<Executor, ExecutorError> {
        scratch::open(&config.scratch_dir)?;
        let shared = Arc::new(Shared {
            sandbox,
            modules,
            data,
            scratch_dir: config.scratch_dir,
            runtime,
            queue: Arc::new(RunQueue::new()),
            preparing: Semaphore::new(MAX_PREPARING),
            news: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let executor = Executor { shared, lanes: Mutex::default(), workers: Mutex::default() };
        for number in 0..config.workers.max(1) {
            let (queue, runtime) = (executor.shared.queue.clone(), executor.shared.runtime.clone());
            let worker = queue::start_worker(number, queue, runtime)
                .map_err(|source| ExecutorError::Worker { number, source })?;
            executor.workers().push(worker);
        }
        Ok(executor)
    }

    /// Takes tasks on. A lease whose id is known adds its tasks to those; tasks that it has already
    /// are not run twice, as long as they have not finished.
    pub fn grant(&self, lease: &Lease) {
        let mut lanes = self.lanes();
        let lane = lanes.entry(lease.id).or_insert_with(|| Arc::new(Lane::new(lease))).clone();
        // Still under the lock: an idle lane might be retired before it has its tasks.
        let unprepared = lane.add(lease.range, lease.slots);
        drop(lanes);
        if unprepared {
            self.prepare(&lane);
        }
        self.shared.fill(&lane);
        self.shared.tell();
    }

    fn prepare(&self, lane: &Arc<Lane>) {
        let (shared, its_lane) = (self.shared.clone(), lane.clone());
        let preparing = self.shared.runtime.spawn(async move {
            let prepared = prepare::prepare(&shared, &its_lane).await;
            its_lane.prepared(prepared);
            shared.fill(&its_lane);
            shared.tell();
        });
        lane.preparing(preparing.abort_handle());
    }

    /// Forgets a lease: what is queued is dropped, what runs is cancelled when it next yields, and
    /// nothing of it is reported any more.
    pub fn stop(&self, lease: LeaseId) {
        let lane = self.lanes().remove(&lease);
        if let Some(lane) = lane {
            lane.stop(&self.shared.queue);
        }
    }

    /// Takes tasks of a lease back, as far as they have not begun; tells which these are.
    pub fn withdraw(&self, lease: LeaseId, tasks: &RangeSet) -> RangeSet {
        let lane = self.lanes().get(&lease).cloned();
        lane.map(|lane| lane.withdraw(tasks)).unwrap_or_default()
    }

    /// Lets these tasks of a lease stand still, and no others: they keep their memory and their slots,
    /// use no core, and their timeouts stand still too. Those that have not begun are taken back;
    /// tells which these are.
    pub fn pause(&self, lease: LeaseId, tasks: &RangeSet) -> RangeSet {
        let lane = self.lanes().get(&lease).cloned();
        lane.map(|lane| lane.pause(&self.shared.queue, tasks)).unwrap_or_default()
    }

    /// Takes out what has finished: in order within a lease, leases in no order.
    ///
    /// A lease's slots stand still while 16,384 of its results wait to be taken.
    pub fn take_finished(&self) -> Vec<Finished> {
        self.shared.news.store(false, Ordering::SeqCst);
        let lanes: Vec<Arc<Lane>> = self.lanes().values().cloned().collect();
        let mut finished = Vec::new();
        for lane in lanes {
            finished.append(&mut lane.take_finished());
            self.shared.fill(&lane);
        }
        self.retire_idle_lanes();
        finished
    }

    fn retire_idle_lanes(&self) {
        let mut lanes = self.lanes();
        if lanes.len() <= MAX_IDLE_LANES {
            return;
        }
        let mut idle: Vec<_> = lanes
            .values()
            .filter_map(|lane| lane.idle_since().map(|since| (since, lane.id)))
            .collect();
        idle.sort_unstable();
        let surplus = idle.len().saturating_sub(MAX_IDLE_LANES);
        for (_, id) in &idle[..surplus] {
            lanes.remove(id);
        }
    }

    /// The tasks that run now; those of a lease that is still being prepared do not.
    pub fn running(&self) -> Vec<(LeaseId, u32)> {
        let lanes = self.lanes();
        lanes
            .values()
            .flat_map(|lane| lane.running().into_iter().map(|index| (lane.id, index)))
            .collect()
    }

    /// What has to be done before tasks of leases can run.
    pub fn preparing(&self) -> Vec<(LeaseId, Preparing)> {
        let lanes = self.lanes();
        let preparing = lanes.values().filter_map(|lane| {
            let (step, since) = match lane.prepares()? {
                Since::Inputs(since) => (PrepareStep::Inputs, since),
                Since::Module(since) => {
                    let told = self.shared.modules.step(ModuleKey::of(&lane.spec));
                    told.unwrap_or((PrepareStep::Module, since))
                }
            };
            Some((lane.id, Preparing { step, for_ms: since.elapsed().as_millis() as u64 }))
        });
        preparing.collect()
    }

    /// Takes output that was not shown yet, of attempts that have run for more than 50 ms; at most
    /// 64 KiB of each stream, the rest next time.
    pub fn take_live(&self) -> Vec<LiveChunk> {
        let lanes: Vec<Arc<Lane>> = self.lanes().values().cloned().collect();
        lanes.iter().flat_map(|lane| lane.take_live()).collect()
    }

    /// Waits until something has finished since `take_finished` was last called; for one caller.
    /// Under load it returns at once nearly always: wait a little before taking, so that results
    /// come in batches.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Forgets all leases, stops the workers and waits for them: at most for a quantum of fuel, or
    /// one host call.
    pub fn shutdown(&self) {
        let lanes = std::mem::take(&mut *self.lanes());
        for lane in lanes.values() {
            lane.stop(&self.shared.queue);
        }
        self.shared.queue.close();
        for worker in std::mem::take(&mut *self.workers()) {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<LeaseId, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    /// Starts loops for slots of a lane that have tasks and no loop.
    fn fill(self: &Arc<Shared>, lane: &Arc<Lane>) {
        lane.fill(|slot, prepared| self.start_slot(lane.clone(), prepared, slot));
    }

    fn start_slot(
        self: &Arc<Shared>,
        lane: Arc<Lane>,
        prepared: Arc<Prepared>,
        slot: usize,
    ) -> SlotLoop {
        let queue = self.queue.clone();
        let seat = queue.seat(&lane.path);
        let ticket = seat.ticket().clone();
        let of_loop = ticket.clone();
        let slot_loop = attempt::run_slot(self.clone(), lane, prepared, slot, seat);
        let (runnable, task) = async_task::spawn(slot_loop, move |work| queue.push(&ticket, work));
        runnable.schedule();
        SlotLoop { task, ticket: of_loop }
    }

    /// Wakes whoever waits for results, once for all until they are taken.
    fn tell(&self) {
        if !self.news.swap(true, Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }
}
