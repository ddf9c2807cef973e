//! The run queue and the workers that empty it: who has used least fuel for its weight goes next.
//!
//! All workers share one queue, so none is idle while there is work. It holds at most one entry for
//! each slot of the granted leases, which the executor bounds. Who goes next is decided in `fair`.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use async_task::Runnable;
use tokio::runtime::Handle;

use super::fair::{FairTree, Group, NodeId};
use crate::sandbox::Gauge;

/// What is ready to run.
pub(super) struct RunQueue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

struct QueueState {
    tree: FairTree<Work>,
    waiting: usize,
    closed: bool,
}

/// A slot's place in the queue; dropping it gives that up.
pub(super) struct Seat {
    queue: Arc<RunQueue>,
    ticket: Ticket,
}

/// What a slot's work comes to the queue with.
#[derive(Clone)]
pub(super) struct Ticket {
    slot: NodeId,
    gauge: Arc<Gauge>,
}

struct Work {
    ticket: Ticket,
    runnable: Runnable,
}

impl RunQueue {
    pub(super) fn new() -> RunQueue {
        let state = QueueState { tree: FairTree::new(), waiting: 0, closed: false };
        RunQueue { state: Mutex::new(state), wake: Condvar::new() }
    }

    /// A place for a new slot, in a group at the end of a path.
    pub(super) fn seat(self: &Arc<RunQueue>, path: &[Group]) -> Seat {
        let slot = self.lock().tree.enter(path);
        Seat { queue: self.clone(), ticket: Ticket { slot, gauge: Arc::default() } }
    }

    /// Puts the work of a slot where it belongs by what the slot has used. After `close`, and when the
    /// slot has given up its place, it is dropped, which cancels it.
    pub(super) fn push(&self, ticket: &Ticket, runnable: Runnable) {
        let work = Work { ticket: ticket.clone(), runnable };
        let mut state = self.lock();
        let dropped = match state.closed {
            true => Err(work),
            false => {
                state.charge(ticket);
                state.tree.push(ticket.slot, work)
            }
        };
        let anybody_waits = state.waiting > 0;
        drop(state);
        // Waking costs a system call even where nobody waits.
        if dropped.is_ok() && anybody_waits {
            self.wake.notify_one();
        }
        // `dropped` is dropped here: it runs destructors of ours, which may want the lock.
    }

    /// Keeps a slot from running until it is released, whatever wakes it.
    pub(super) fn hold(&self, ticket: &Ticket) {
        self.lock().tree.hold(ticket.slot);
        ticket.gauge.pause();
    }

    /// Lets a slot run again.
    pub(super) fn release(&self, ticket: &Ticket) {
        ticket.gauge.resume();
        let mut state = self.lock();
        state.tree.release(ticket.slot);
        let anybody_waits = state.waiting > 0;
        drop(state);
        if anybody_waits {
            self.wake.notify_one();
        }
    }

    /// Waits for work, after that of `done`; `None` when the queue is closed and empty.
    fn next(&self, done: Option<Ticket>) -> Option<Work> {
        let mut state = self.lock();
        if let Some(ticket) = done {
            // Who waits for its clock or a socket was not pushed again.
            state.charge(&ticket);
        }
        loop {
            if let Some((_, work)) = state.tree.pop() {
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

impl QueueState {
    /// Charges a slot and its groups for what it has used since they last were.
    fn charge(&mut self, ticket: &Ticket) {
        match ticket.gauge.take() {
            0 => {}
            fuel => self.tree.charge(ticket.slot, fuel),
        }
    }
}

impl Seat {
    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Where its attempts tell what they use.
    pub(super) fn gauge(&self) -> &Arc<Gauge> {
        &self.ticket.gauge
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.charge(&self.ticket);
        let work = state.tree.leave(self.ticket.slot);
        drop(state);
        // Its destructors may want the lock.
        drop(work);
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
        let mut done = None;
        while let Some(Work { ticket, runnable }) = queue.next(done.take()) {
            runnable.run();
            done = Some(ticket);
        }
    };
    std::thread::Builder::new().name(format!("weir-worker-{number}")).spawn(worker)
}
