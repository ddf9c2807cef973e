//! What is known of modules in memory: one place for each, where those who ask for it meet.
//!
//! A module that is in use, or in the making, stays; of the others the one used longest ago goes
//! first. Each holds an open file, so their number is bounded; their bytes are those of the files,
//! see `disk.rs`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OnceCell};
use weir_proto::{digest::Digest, job::StageSpec, lease::PrepareStep, metering::Metering};

use super::{ReadyModule, Refusal};

/// Most modules that are kept connected in memory while nobody uses them.
const MAX_READY_MODULES: usize = 256;

/// A file that is in use is marked as used this often, for the sake of the next process.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// A module, and which of its two kinds of code is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleKey {
    /// The module.
    pub digest: Digest,
    /// Compiled for tasks that are metered so.
    pub metering: Metering,
}

impl ModuleKey {
    /// The module that a stage's tasks run.
    pub fn of(stage: &StageSpec) -> ModuleKey {
        ModuleKey { digest: stage.module, metering: stage.metering }
    }
}

/// What became of a module.
pub(super) type Verdict = Result<Arc<ReadyModule>, Refusal>;

/// What is known, by module.
#[derive(Default)]
pub(super) struct Known {
    entries: Mutex<HashMap<ModuleKey, Entry>>,
}

/// Where those who ask for a module meet.
#[derive(Default)]
pub(super) struct Place {
    /// Made by one of them.
    pub(super) verdict: OnceCell<Verdict>,
    /// Told when tasks wait for it, to whoever makes it ahead of any.
    pub(super) wanted: Notify,
    /// What its maker does, and since when.
    step: Mutex<Option<(PrepareStep, Instant)>>,
}

/// The one who makes a module; when dropped, nobody does.
pub(super) struct Maker<'a>(&'a Place);

struct Entry {
    place: Arc<Place>,
    used: Instant,
    marked: Instant,
}

impl Known {
    /// The place of a module; and whether its file should be marked as used.
    pub(super) fn place(&self, module: ModuleKey) -> (Arc<Place>, bool) {
        let mut entries = self.lock();
        let full = entries.len() >= MAX_READY_MODULES && !entries.contains_key(&module);
        let oldest = if full { oldest_idle(&entries) } else { None };
        let forgotten = oldest.and_then(|oldest| entries.remove(&oldest));
        let now = Instant::now();
        // Whoever makes or loads a file marks it: the first mark is not due at once.
        let entry = entries.entry(module).or_insert_with(|| Entry {
            place: Arc::default(),
            used: now,
            marked: now,
        });
        entry.used = now;
        let due = now.duration_since(entry.marked) >= MARK_EVERY;
        if due {
            entry.marked = now;
        }
        let place = entry.place.clone();
        drop(entries);
        // To unmap a large module takes a while; others need not wait for it.
        drop(forgotten);
        (place, due)
    }

    /// What is done for a module now, and since when; nothing once there is a verdict.
    pub(super) fn step(&self, module: ModuleKey) -> Option<(PrepareStep, Instant)> {
        let entries = self.lock();
        *entries.get(&module)?.place.lock_step()
    }

    /// Forgets a module; false where somebody uses it or waits for it.
    pub(super) fn forget(&self, module: ModuleKey) -> bool {
        let mut entries = self.lock();
        if entries.get(&module).is_some_and(|entry| !entry.is_idle()) {
            return false;
        }
        let forgotten = entries.remove(&module);
        drop(entries);
        drop(forgotten);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModuleKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who was used longest ago of those that may go.
fn oldest_idle(entries: &HashMap<ModuleKey, Entry>) -> Option<ModuleKey> {
    let idle = entries.iter().filter(|(_, entry)| entry.is_idle());
    idle.min_by_key(|(_, entry)| entry.used).map(|(module, _)| *module)
}

impl Place {
    /// Begins to make the module.
    pub(super) fn maker(&self) -> Maker<'_> {
        let maker = Maker(self);
        maker.begins(PrepareStep::Module);
        maker
    }

    fn lock_step(&self) -> MutexGuard<'_, Option<(PrepareStep, Instant)>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maker<'_> {
    /// Tells what it does from now on.
    pub(super) fn begins(&self, step: PrepareStep) {
        *self.0.lock_step() = Some((step, Instant::now()));
    }
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        *self.0.lock_step() = None;
    }
}

impl Entry {
    /// Nobody runs it, makes it or waits for it: all who do hold a second handle.
    fn is_idle(&self) -> bool {
        let module = match self.place.verdict.get() {
            Some(Ok(module)) => Arc::strong_count(module),
            Some(Err(_)) | None => 1,
        };
        module == 1 && Arc::strong_count(&self.place) == 1
    }
}
