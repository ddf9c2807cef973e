//! The run queue and the workers that empty it: first in, first out, so who yields goes to the back.
//!
//! It holds at most one entry for each slot of the granted leases, which the executor bounds.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use async_task::Runnable;
use tokio::runtime::Handle;

/// What is ready to run.
#[derive(Default)]
pub(super) struct RunQueue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Default)]
struct QueueState {
    ready: VecDeque<Runnable>,
    waiting: usize,
    closed: bool,
}

impl RunQueue {
    /// Puts work at the back. After `close` it is dropped, which cancels it.
    pub(super) fn push(&self, work: Runnable) {
        let mut state = self.lock();
        if state.closed {
            // Dropping it runs destructors of ours, which may want this lock.
            drop(state);
            return;
        }
        state.ready.push_back(work);
        let anybody_waits = state.waiting > 0;
        drop(state);
        // Waking costs a system call even where nobody waits.
        if anybody_waits {
            self.wake.notify_one();
        }
    }

    /// Waits for work; `None` when the queue is closed and empty.
    fn pop(&self) -> Option<Runnable> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.ready.pop_front() {
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state.waiting += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Takes no more work; workers finish what is there and return.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a worker thread. It enters the runtime, which drives timers and files of guests, but
/// never runs one of its loops.
///
/// # Errors
/// Whatever the system says when it has no more threads.
pub(super) fn start_worker(
    number: usize,
    queue: Arc<RunQueue>,
    runtime: Handle,
) -> io::Result<JoinHandle<()>> {
    let worker = move || {
        let _entered = runtime.enter();
        while let Some(work) = queue.pop() {
            work.run();
        }
    };
    std::thread::Builder::new().name(format!("weir-worker-{number}")).spawn(worker)
}
