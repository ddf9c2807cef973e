//! Turns to compile: so many at once, and first for modules that tasks wait for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How much a module is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Tasks wait for it.
    Now,
    /// Tasks may come. It gets a turn when nobody who has tasks wants one.
    Ahead,
}

/// The turns of one compiler.
#[derive(Debug)]
pub(super) struct Turns(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    free: usize,
    /// In the order of asking; some have gone.
    now: VecDeque<oneshot::Sender<Turn>>,
    ahead: VecDeque<oneshot::Sender<Turn>>,
}

/// A turn to compile. Dropped, it goes to the next in line.
#[derive(Debug)]
pub struct Turn {
    /// None once it is nobody's.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    pub(super) fn new(count: usize) -> Arc<Turns> {
        let queue = Queue { free: count, now: VecDeque::new(), ahead: VecDeque::new() };
        Arc::new(Turns(Mutex::new(queue)))
    }

    /// Waits for a turn. Drop the future to leave the line.
    pub(super) async fn take(self: &Arc<Turns>, urgency: Urgency) -> Turn {
        let given = {
            let mut queue = self.lock();
            if queue.free > 0 {
                queue.free -= 1;
                return Turn { turns: Some(self.clone()) };
            }
            let (give, given) = oneshot::channel();
            match urgency {
                Urgency::Now => queue.now.push_back(give),
                Urgency::Ahead => queue.ahead.push_back(give),
            }
            given
        };
        given.await.expect("who stands in line is in the queue until a turn comes")
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else { return };
        let mut turn = Turn { turns: Some(turns.clone()) };
        loop {
            let mut queue = turns.lock();
            let Some(next) = queue.now.pop_front().or_else(|| queue.ahead.pop_front()) else {
                queue.free += 1;
                turn.turns = None;
                return;
            };
            drop(queue);
            // One that has gone leaves the turn to the one behind it.
            match next.send(turn) {
                Ok(()) => return,
                Err(back) => turn = back,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// What a future that was polled once has come to.
    macro_rules! polled {
        ($future:expr) => {
            std::future::poll_fn(|context| Poll::Ready($future.as_mut().poll(context))).await
        };
    }

    #[tokio::test]
    async fn who_has_tasks_goes_first_and_each_line_in_its_order() {
        let turns = Turns::new(1);
        let first = turns.take(Urgency::Ahead).await;
        let mut ahead = Box::pin(turns.take(Urgency::Ahead));
        let mut now = Box::pin(turns.take(Urgency::Now));
        let mut later = Box::pin(turns.take(Urgency::Now));
        assert!(polled!(ahead).is_pending());
        assert!(polled!(now).is_pending() && polled!(later).is_pending());
        drop(first);
        assert!(polled!(ahead).is_pending() && polled!(later).is_pending());
        let Poll::Ready(turn) = polled!(now) else { panic!("its turn") };
        drop(turn);
        let Poll::Ready(turn) = polled!(later) else { panic!("its turn") };
        assert!(polled!(ahead).is_pending());
        drop(turn);
        assert!(polled!(ahead).is_ready());
    }

    #[tokio::test]
    async fn a_turn_is_not_lost_with_those_who_leave_the_line() {
        let turns = Turns::new(1);
        let first = turns.take(Urgency::Now).await;
        let mut gone: Vec<_> = (0..1_000).map(|_| Box::pin(turns.take(Urgency::Now))).collect();
        for waiting in &mut gone {
            assert!(polled!(waiting).is_pending());
        }
        let mut last = Box::pin(turns.take(Urgency::Ahead));
        assert!(polled!(last).is_pending());
        let given = gone.remove(0);
        drop(gone);
        drop(first);
        // It has a turn by now and never looked.
        drop(given);
        assert!(polled!(last).is_ready());
        let _free = turns.take(Urgency::Now).await;
    }
}
