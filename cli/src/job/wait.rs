//! `weir job wait`: until a job has ended.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use weir_sdk::{Client, proto::id::JobId};

use crate::{
    completions::candidates,
    config,
    connect::MasterFlag,
    exit,
    follow::{Follow, Followed, OnInterrupt, follow},
    progress::Progress,
    run,
    signals::Interrupts,
};

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub(crate) struct WaitArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::jobs())]
    job: JobId,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each task and one for the job
    #[arg(long)]
    json: bool,
}

fn help() -> String {
    let examples = "Examples:\n  weir job wait 7\n  weir job wait 7 --json | jq .outcome\n";
    format!("{examples}\n{}", exit::help())
}

/// Waits; exits as `weir run` would have.
///
/// # Errors
/// When there is no such job or no master, or stdout is closed.
pub(super) async fn run(args: WaitArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    end(&client, args.job, &mut interrupts, Telling { tasks: args.json, json: args.json }).await
}

/// What is told of a job's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    /// A line of JSON for each task.
    pub(super) tasks: bool,
    /// The end as a line of JSON.
    pub(super) json: bool,
}

/// Waits for a job's end and tells it.
///
/// # Errors
/// As `run`.
pub(super) async fn end(
    client: &Client,
    job: JobId,
    interrupts: &mut Interrupts,
    telling: Telling,
) -> Result<ExitCode> {
    let (started, quiet) = (Instant::now(), config::current().quiet.value);
    let plan = Follow {
        show: None,
        json: telling.tasks,
        out: None,
        wait: true,
        on_interrupt: OnInterrupt::Leave,
        remarks: !quiet,
        progress: Progress::none(),
    };
    match follow(client, job, interrupts, plan).await? {
        Followed::Ended { view, tally } => {
            let wall: Duration = view.summary.wall_time().unwrap_or_else(|| started.elapsed());
            run::tell_end(&view, &tally, wall, telling.json, quiet)?;
            Ok(ExitCode::from(tally.exit_code(view.summary.status)))
        }
        Followed::Told => bail!("the master stopped telling about {job} before its end"),
        Followed::Interrupted | Followed::Detached => Ok(exit::interrupted()),
    }
}
