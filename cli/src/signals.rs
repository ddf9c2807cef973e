//! Ctrl-C and SIGTERM: the first is a request, the second ends the process at once.

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use weir_sdk::proto::outcome::Outcome;

use crate::exit;

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
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                // The first request waits in the channel or has been taken; whoever asks again
                // does not want to wait.
                static ASKED: std::sync::Once = std::sync::Once::new();
                if ASKED.is_completed() {
                    std::process::exit(exit::of_outcome(&Outcome::Cancelled).into());
                }
                ASKED.call_once(|| {});
                let _ = ask.try_send(());
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
