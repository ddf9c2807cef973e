//! `weir cluster upgrade`: raises the feature level.

use std::process::ExitCode;

use anyhow::Result;

use crate::{config, connect::LookArgs, json::cluster::Upgraded, text};

/// Arguments of `upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster members                 LEVEL is what each master's binary knows
  weir cluster upgrade

Give every master the new binary first, one after the other; the cluster goes on meanwhile, and each of them can
still get the old one back. This is the last step: once the level is raised, an older binary does not start.")]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the command.
///
/// # Errors
/// When a master's binary knows less than another's, or one does not answer.
pub(super) async fn run(UpgradeArgs { look }: UpgradeArgs) -> Result<ExitCode> {
    let (from_level, level) = look.master.connect().await?.upgrade().await?;
    if look.json {
        text::print_json(&Upgraded { from_level, level })?;
    } else if !config::current().quiet.value {
        text::print(&match from_level == level {
            true => format!("the cluster is at feature level {level} already\n"),
            false => {
                format!("the cluster is at feature level {level} now; it was at {from_level}\n")
            }
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
