//! `--confine`: whether a process that runs strangers' modules gives up what it does not need. What that
//! is, is in the agent's `confine.rs`.

use anyhow::Result;
use weir_agent::confine::{Confinement, Needs, confine};

/// How far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Confine {
    /// As far as the kernel can.
    #[default]
    Auto,
    /// Not at all.
    Off,
}

/// The flag.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct ConfineFlags {
    /// Give up files outside the data directory, and system calls that nobody here needs: `auto`, as
    /// far as the kernel can, or `off` [default: auto]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    confine: Option<Confine>,
}

impl ConfineFlags {
    /// What was said, or is usual.
    pub(crate) fn how(self) -> Confine {
        self.confine.unwrap_or_default()
    }

    /// Confines this process to what it needs. To be called while it has one thread.
    ///
    /// # Errors
    /// When it needs a directory that cannot be used.
    pub(crate) fn apply(self, needs: &Needs) -> Result<Confinement> {
        let confinement = match self.how() {
            Confine::Off => Confinement::off(),
            Confine::Auto => confine(needs)?,
        };
        if confinement.is_lacking() {
            tracing::warn!("{confinement}");
        } else {
            tracing::info!("{confinement}");
        }
        Ok(confinement)
    }
}
