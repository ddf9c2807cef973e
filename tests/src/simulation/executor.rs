//! An agent's executor without a sandbox: lanes with slots, as the real one has them, whose tasks
//! take virtual time. It says which tasks begin; the cluster says when they end.

use std::collections::BTreeMap;

use weir_agent::executor::{End, Finished};
use weir_proto::{
    id::{LeaseId, StageId, TaskId},
    job::StageSpec,
    lease::Lease,
    limits::Resources,
    range::{RangeSet, TaskRange},
};

/// The lanes of one life of an agent.
#[derive(Default)]
pub(super) struct Executor {
    lanes: BTreeMap<LeaseId, Lane>,
    attempts: u64,
    finished: Vec<Finished>,
}

struct Lane {
    stage: StageId,
    spec: StageSpec,
    slots: u32,
    queued: RangeSet,
    running: BTreeMap<u32, Attempt>,
    /// Tasks that stand still.
    paused: RangeSet,
    /// Those of them that would have ended meanwhile.
    due: BTreeMap<u32, Attempt>,
    life: Life,
}

#[derive(PartialEq, Eq)]
enum Life {
    Unprepared,
    Preparing,
    Ready,
}

/// One run of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) began_us: u64,
    /// What it is said to have taken; no two take the same, so no two results are the same.
    pub(super) wall_us: u64,
}

/// A task that begins.
pub(super) struct Begun {
    pub(super) lease: LeaseId,
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    /// It runs at most once.
    pub(super) once: bool,
}

impl Executor {
    /// Takes tasks on; true when their lane must be prepared first.
    pub(super) fn grant(&mut self, lease: Lease) -> bool {
        let lane = self.lanes.entry(lease.id).or_insert_with(|| Lane {
            stage: lease.stage,
            spec: lease.spec,
            slots: lease.slots,
            queued: RangeSet::new(),
            running: BTreeMap::new(),
            paused: RangeSet::new(),
            due: BTreeMap::new(),
            life: Life::Unprepared,
        });
        lane.slots = lease.slots;
        let fresh = (lease.range.start..lease.range.end).filter(|i| !lane.running.contains_key(i));
        let fresh: Vec<u32> = fresh.collect();
        for index in fresh {
            lane.queued.insert(TaskRange::single(index));
        }
        let unprepared = lane.life == Life::Unprepared;
        if unprepared {
            lane.life = Life::Preparing;
        }
        unprepared
    }

    /// What a lane's tasks share is there, or the world failed us and none can run.
    pub(super) fn prepared(&mut self, id: LeaseId, works: bool) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.life = if works { Life::Ready } else { Life::Unprepared };
        if !works {
            let queued = std::mem::take(&mut lane.queued);
            let reason = || End::CannotRun { reason: "the module cannot be fetched".to_owned() };
            let ended = queued.iter().map(|index| Finished {
                lease: id,
                task: lane.stage.task(index),
                end: reason(),
            });
            self.finished.extend(ended);
        }
    }

    pub(super) fn stop(&mut self, id: LeaseId) {
        self.lanes.remove(&id);
        self.finished.retain(|ended| ended.lease != id);
    }

    /// Takes tasks out, as far as they have not begun.
    pub(super) fn withdraw(&mut self, id: LeaseId, tasks: &RangeSet) -> RangeSet {
        let Some(lane) = self.lanes.get_mut(&id) else { return RangeSet::new() };
        let withdrawn = lane.queued.intersection(tasks);
        lane.queued.remove_all(&withdrawn);
        withdrawn
    }

    /// Lets these tasks stand still, and no others. Returns those that had not begun, which are taken
    /// out, how many began to stand still, and the attempts that may end now.
    pub(super) fn pause(
        &mut self,
        id: LeaseId,
        tasks: RangeSet,
    ) -> (RangeSet, u64, BTreeMap<u32, Attempt>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return Default::default() };
        let withdrawn = lane.queued.intersection(&tasks);
        lane.queued.remove_all(&withdrawn);
        let new = |index: &&u32| tasks.contains(**index) && !lane.paused.contains(**index);
        let began = lane.running.keys().filter(new).count() as u64;
        let (due, still): (BTreeMap<_, _>, _) = std::mem::take(&mut lane.due)
            .into_iter()
            .partition(|(index, _)| !tasks.contains(*index));
        (lane.due, lane.paused) = (still, tasks);
        (withdrawn, began, due)
    }

    /// Fills free slots; `wall_us` draws how long an attempt takes.
    pub(super) fn begin(
        &mut self,
        now_us: u64,
        mut wall_us: impl FnMut(&StageSpec, u32) -> u64,
    ) -> Vec<Begun> {
        let mut begun = Vec::new();
        for (id, lane) in self.lanes.iter_mut().filter(|(_, lane)| lane.life == Life::Ready) {
            while (lane.running.len() as u32) < lane.slots {
                let Some(next) = lane.queued.take_first(1) else { break };
                self.attempts += 1;
                let wall_us = wall_us(&lane.spec, next.start);
                let attempt = Attempt { number: self.attempts, began_us: now_us, wall_us };
                lane.running.insert(next.start, attempt);
                let task = lane.stage.task(next.start);
                begun.push(Begun { lease: *id, task, attempt, once: lane.spec.once });
            }
        }
        begun
    }

    /// An attempt ends with what `end` makes of its spec; nothing if it was stopped before.
    pub(super) fn end(
        &mut self,
        id: LeaseId,
        index: u32,
        attempt: Attempt,
        end: impl FnOnce(&StageSpec) -> End,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.running.get(&index) != Some(&attempt) {
            return;
        }
        if lane.paused.contains(index) {
            lane.due.insert(index, attempt);
            return;
        }
        lane.running.remove(&index);
        let end = end(&lane.spec);
        self.finished.push(Finished { lease: id, task: lane.stage.task(index), end });
    }

    pub(super) fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    pub(super) fn running(&self) -> Vec<(LeaseId, u32)> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|(id, lane)| lane.running.keys().map(|index| (*id, *index))).collect()
    }

    /// Whether any of these tasks waits or runs.
    pub(super) fn holds(&self, stage: StageId, range: TaskRange) -> bool {
        self.lanes.values().filter(|lane| lane.stage == stage).any(|lane| {
            !lane.queued.within(range).is_empty()
                || lane.running.range(range.start..range.end).next().is_some()
        })
    }

    /// What the running tasks take of the agent.
    pub(super) fn used(&self) -> Resources {
        self.lanes.values().fold(Resources::default(), |sum, lane| {
            let each = &lane.spec.resources;
            let running = lane.running.len() as u32;
            let still = lane.running.keys().filter(|i| lane.paused.contains(**i)).count() as u32;
            let cpu_millis = each.times(running - still).cpu_millis;
            sum.plus(&Resources { cpu_millis, ..each.times(running) })
        })
    }

    /// What runs, for messages.
    pub(super) fn describe(&self) -> String {
        let lanes = self.lanes.iter().filter(|(_, lane)| !lane.running.is_empty());
        let lanes = lanes.map(|(id, lane)| {
            let running: Vec<u32> = lane.running.keys().copied().collect();
            format!("{id}: {} of {:?} in {} slots", lane.stage, running, lane.slots)
        });
        lanes.collect::<Vec<_>>().join("; ")
    }
}
