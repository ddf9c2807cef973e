//! `weir submit`: puts what the store lacks, submits, and leaves the job to the cluster.

use std::process::ExitCode;

use anyhow::Result;
use weir_sdk::proto::job::StageSpec;

use crate::{
    config, connect::MasterFlag, exit, json, run::put_and_submit, signals::Interrupts, tally,
    task_flags::TaskFlags, text,
};

/// Submit a job and leave it to the cluster; print its id
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir submit job.toml
  weir submit --array 100 tile.wasm -- --tile {index}
  weir submit --foreach 'texts/*.txt' --outputs count.wasm -- {input}
  weir job wait $(weir submit job.toml)")]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    tasks: TaskFlags,
    /// Give tasks a directory /out and keep what they leave there: `weir job outputs` fetches it
    #[arg(long)]
    outputs: bool,
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When something here is not as it must be, the job is refused, or there is no cluster.
pub(crate) async fn run(args: SubmitArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let submitting = async {
        let planned = match args.tasks.plan().await? {
            Ok(planned) => planned,
            Err(shown) => return Ok(shown.into()),
        };
        let client = args.master.connect().await?;
        let (job, spec) = put_and_submit(&client, &planned.plan, args.outputs).await?;
        let tasks = spec.stages.iter().map(|stage: &StageSpec| stage.count).sum();
        if args.json {
            text::print(&json::submitted_line(job, tasks)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        text::print(&format!("{job}\n"))?;
        if !config::current().quiet.value {
            let tasks = tally::count(tasks.into(), "task");
            text::remark(&format!("{job} has {tasks}; `weir job watch {}` watches it", job.0));
        }
        Ok(ExitCode::SUCCESS)
    };
    tokio::select! {
        biased;
        _ = interrupts.next() => Ok(exit::interrupted()),
        submitted = submitting => submitted,
    }
}
