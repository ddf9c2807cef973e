//! Ctrl-C and SIGTERM: requests, told to whoever listens; one more than it has patience for ends the
//! process at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use weir_sdk::proto::outcome::Outcome;

use crate::exit;

/// A signal so soon after another is the same request: `timeout` sends each to the process and to
/// its group.
const SAME_REQUEST: Duration = Duration::from_millis(300);
/// Requests that wait to be heard.
const QUEUE: usize = 4;

/// Who wants the command to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Somebody at the terminal: Ctrl-C.
    Interrupt,
    /// Another program: SIGTERM.
    Terminate,
}

/// Tells when somebody wants the command to stop.
#[derive(Debug)]
pub(crate) struct Interrupts {
    asked: mpsc::Receiver<Asked>,
    patience: Arc<AtomicU32>,
}

impl Interrupts {
    /// Begins to listen; the second request ends the process. The loop behind it lives as long as
    /// the process.
    ///
    /// # Errors
    /// When the operating system does not let us.
    pub(crate) fn listen() -> Result<Interrupts> {
        let about = "cannot listen for Ctrl-C";
        let mut interrupt = signal(SignalKind::interrupt()).context(about)?;
        let mut terminate = signal(SignalKind::terminate()).context(about)?;
        let (ask, asked) = mpsc::channel(QUEUE);
        let patience = Arc::new(AtomicU32::new(1));
        let left = patience.clone();
        tokio::spawn(async move {
            let mut last: Option<Instant> = None;
            loop {
                let request = tokio::select! {
                    _ = interrupt.recv() => Asked::Interrupt,
                    _ = terminate.recv() => Asked::Terminate,
                };
                if last.is_some_and(|last| last.elapsed() < SAME_REQUEST) {
                    continue;
                }
                last = Some(Instant::now());
                let heard = left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if heard.is_err() || ask.try_send(request).is_err() {
                    std::process::exit(exit::of_outcome(&Outcome::Cancelled).into());
                }
            }
        });
        Ok(Interrupts { asked, patience })
    }

    /// One more request is heard before the process ends.
    pub(crate) fn be_patient(&self) {
        self.patience.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns when somebody has asked; may be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}
