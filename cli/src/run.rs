//! `weir run`: puts what the store lacks, submits, shows what the tasks write, and ends as they
//! ended. Stop 1 of a task's way; the next is the submission in `weir-sdk`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use weir_sdk::{
    Client,
    plan::{JobPlan, OutputsPlan, TasksPlan},
    proto::{
        id::JobId,
        job::{JobSpec, Keep},
    },
    submit::SubmitError,
    view::JobView,
};

use crate::{
    config,
    connect::{Connection, MasterFlag},
    core_dumps, exit,
    follow::{Follow, Followed, OnInterrupt, OutDir, follow},
    json,
    output::Show,
    progress::Progress,
    signals::Interrupts,
    tally::Tally,
    task_flags::{Planned, TaskFlags},
    text,
};

/// Run a module or a job file, and show what its tasks write
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub(crate) struct RunArgs {
    #[command(flatten)]
    tasks: TaskFlags,
    /// Give the guest a directory /out, and write what it leaves there to DIR (of an array: to
    /// DIR/INDEX); DIR must be absent or empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each task and one for the job instead of what tasks write
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  weir run hello.wasm -- --greeting hi             what follows -- goes to the guest
  weir run --array 100 --out tiles tile.wasm       outputs in tiles/0 to tiles/99
  weir run --in text=book.txt count.wasm -- /in/text
  weir run --foreach 'texts/*.txt' count.wasm -- {input}
  weir run --fuel 5G --memory 64MiB --timeout 1m30s hello.wasm
  weir run job.toml

";

fn help() -> String {
    format!("{EXAMPLES}{}", exit::help())
}

/// Runs the command; what it exits with is how the job ended.
///
/// # Errors
/// When something here is not as it must be, the job is refused, or the cluster is lost.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    args.out.as_deref().map_or(Ok(()), check_out)?;
    let planned = tokio::select! {
        biased;
        _ = interrupts.next() => return Ok(exit::interrupted()),
        planned = args.tasks.plan() => match planned? {
            Ok(planned) => planned,
            Err(shown) => return Ok(shown.into()),
        },
    };
    let connection = tokio::select! {
        biased;
        _ = interrupts.next() => return Ok(exit::interrupted()),
        connection = args.master.connect_or_embed() => connection?,
    };
    let ended = args.run_on(&connection, planned, &mut interrupts).await;
    connection.close().await;
    ended
}

impl RunArgs {
    async fn run_on(
        &self,
        connection: &Connection,
        planned: Planned,
        interrupts: &mut Interrupts,
    ) -> Result<ExitCode> {
        let started = Instant::now();
        let client = &connection.client;
        let quiet = config::current().quiet.value;
        let (job, spec) = tokio::select! {
            biased;
            _ = interrupts.next() => return Ok(exit::interrupted()),
            submitted = put_and_submit(client, &planned.plan, self.out.is_some()) => submitted?,
        };
        let array = planned.plan.stage.tasks != TasksPlan::One;
        let tasks = spec.stages.iter().map(|stage| stage.count).sum();
        let show = Show { prefix: array, only_task: None, only_stream: None };
        let plan = Follow {
            show: (!self.json).then_some(show),
            json: self.json,
            out: self.out.clone().map(|base| OutDir { base, by_index: array }),
            wait: true,
            on_interrupt: match connection.is_own() {
                true => OnInterrupt::Cancel,
                false => OnInterrupt::Ask,
            },
            remarks: !quiet,
            progress: match array && !quiet && !self.json {
                true => Progress::of(job, tasks),
                false => Progress::none(),
            },
        };
        match follow(client, job, interrupts, plan).await {
            Ok(Followed::Ended { view, mut tally }) => {
                if connection.is_own() {
                    let client = client.in_namespace(view.summary.namespace.clone());
                    core_dumps::keep(&client, &mut tally, self.json).await;
                }
                tell_end(&view, &tally, started.elapsed(), self.json, quiet)?;
                if !quiet && self.out.is_none() && keeps_outputs(&view.spec) {
                    tell_outputs(job, connection.is_own());
                }
                Ok(ExitCode::from(tally.exit_code(view.summary.status)))
            }
            Ok(Followed::Detached) => {
                let number = job.0;
                text::remark(&format!(
                    "{job} goes on; `weir job watch {number}` watches it, `weir job cancel {number}` \
                     ends it"
                ));
                Ok(ExitCode::SUCCESS)
            }
            Ok(Followed::Told | Followed::Interrupted) => Ok(exit::interrupted()),
            Err(error) => {
                // Whoever started the job is gone: nobody would read what it writes.
                if text::output_closed(&error) {
                    client.cancel(job).await?;
                }
                Err(error)
            }
        }
    }
}

/// Puts what a job needs and submits it; `keep_out` where its outputs are wanted, whatever it says.
///
/// # Errors
/// When something cannot be put, or the job is refused.
pub(crate) async fn put_and_submit(
    client: &Client,
    plan: &JobPlan,
    keep_out: bool,
) -> Result<(JobId, JobSpec)> {
    let mut plan = plan.clone();
    if keep_out && plan.stage.outputs == OutputsPlan::Nothing {
        plan.stage.outputs = OutputsPlan::All;
    }
    let client = match &plan.namespace {
        Some(namespace) => client.in_namespace(namespace.clone()),
        None => client.clone(),
    };
    let spec = client.put_job(&plan).await?;
    let job = client.submit(spec.clone()).await.map_err(refused)?;
    if plan.precompile {
        for stage in &spec.stages {
            // The job is submitted: that agents compile later than they could ends nothing.
            if let Err(error) = client.precompile(stage.module, stage.metering).await {
                text::note(&format!("agents were not told to compile the module: {error}"));
            }
        }
    }
    Ok((job, spec))
}

fn keeps_outputs(spec: &JobSpec) -> bool {
    spec.stages.iter().any(|stage| stage.keep != Keep::Nothing)
}

fn tell_outputs(job: JobId, own: bool) {
    text::remark(&match own {
        true => {
            "the outputs are gone with this command's own cluster; --out DIR keeps them".to_owned()
        }
        false => format!("outputs are kept; `weir job outputs {} --to DIR` fetches them", job.0),
    });
}

/// Several problems are easier to read as a list.
fn refused(error: SubmitError) -> anyhow::Error {
    match &error {
        SubmitError::Invalid { problems } if problems.len() > 1 => {
            let list: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
            anyhow::anyhow!("the job is refused:\n{}", list.join("\n"))
        }
        _ => error.into(),
    }
}

/// Outputs never overwrite anything; better said now than after an hour of work.
///
/// # Errors
/// When something is there already, or nothing can be written there.
pub(crate) fn check_out(out: &Path) -> Result<()> {
    let about = || format!("cannot write outputs to {}", out.display());
    match std::fs::read_dir(out) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{}: it is not empty; remove it or choose another directory", about());
            }
            check_writable(out).with_context(about)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = std::path::absolute(out)
                .ok()
                .and_then(|out| out.ancestors().find(|above| above.exists()).map(Path::to_owned));
            above.map_or(Ok(()), |above| check_writable(&above)).with_context(about)
        }
        Err(error) => Err(error).with_context(about),
    }
}

/// A file without a name in a directory leaves nothing behind.
fn check_writable(directory: &Path) -> Result<()> {
    match tempfile::tempfile_in(directory) {
        Ok(_) => Ok(()),
        // Its own message names a file that was never there.
        Err(error) => bail!("a file in {} cannot be made: {}", directory.display(), error.kind()),
    }
}

/// Tells on stderr how a job ended, or as the last line of JSON on stdout.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn tell_end(
    view: &JobView,
    tally: &Tally,
    wall: Duration,
    json: bool,
    quiet: bool,
) -> Result<()> {
    if json {
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        return Ok(text::print(&json::ended_line(view, tally, wall_ms)?)?);
    }
    let mut told = tally.failures(quiet);
    if !quiet {
        told.push_str(&tally.summary(view, wall));
    }
    text::print_error(&told);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_go_to_a_directory_that_is_absent_or_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        assert!(check_out(dir.path()).is_ok());
        assert!(check_out(&dir.path().join("new")).is_ok());
        std::fs::write(&file, "x").expect("a file");
        assert!(check_out(dir.path()).is_err());
        assert!(check_out(&file).is_err());
        assert!(check_out(&file.join("below")).is_err());
        assert!(check_out(Path::new("/proc/new")).is_err());
    }
}
