//! Ctrl-C and SIGTERM: the first is a request, the second ends the process at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use weir_sdk::proto::outcome::Outcome;

use crate::exit;

/// A signal so soon after the first is the same request: `timeout` sends each to the process and to
/// its group.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// Tells when somebody wants the command to stop.
#[derive(Debug)]
pub(crate) struct Interrupts {
    asked: mpsc::Receiver<()>,
}

impl Interrupts {
    /// Begins to listen. The loop behind it lives as long as the process.
    ///
    /// # Errors
    /// When the operating system does not let us.
    pub(crate) fn listen() -> Result<Interrupts> {
        let about = "cannot listen for Ctrl-C";
        let mut interrupt = signal(SignalKind::interrupt()).context(about)?;
        let mut terminate = signal(SignalKind::terminate()).context(about)?;
        let (ask, asked) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut first: Option<Instant> = None;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                match first {
                    None => {
                        first = Some(Instant::now());
                        // There is room for the one request that is ever sent.
                        let _ = ask.try_send(());
                    }
                    Some(first) if first.elapsed() < SAME_REQUEST => {}
                    Some(_) => std::process::exit(exit::of_outcome(&Outcome::Cancelled).into()),
                }
            }
        });
        Ok(Interrupts { asked })
    }

    /// Returns when somebody has asked; may be dropped while it waits.
    pub(crate) async fn next(&mut self) {
        if self.asked.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
