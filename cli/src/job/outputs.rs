//! `weir job outputs`: downloads what a job's tasks left in `/out`, of an ended job or a running one.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use tokio::task::JoinSet;
use weir_sdk::{
    Client,
    event::JobEvent,
    proto::{
        id::JobId,
        job::{InputSource, Keep, StageSpec},
        units::{grouped, short_bytes},
    },
    view::JobView,
    watch::WatchOptions,
};

use super::logs::check_task;
use crate::{
    completions::candidates,
    connect::MasterFlag,
    exit, json, run,
    signals::Interrupts,
    tally::count,
    text::{self, plain},
};

/// Most trees that are fetched at once.
const MAX_DOWNLOADS: usize = 8;

const EXAMPLES: &str = "\
Examples:
  weir job outputs 7 --to tiles             of an array: tiles/0, tiles/1 and so on
  weir job outputs 7 --to tile --task 42    of one task: its files are in tile itself

A job keeps outputs where it was started with `--out DIR`, or with `outputs` in its job file.";

/// Arguments of `outputs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct OutputsArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::jobs())]
    job: JobId,
    /// Where to write: of an array, each task's files to DIR/INDEX; DIR must be absent or empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only this task's, to DIR itself
    #[arg(long, value_name = "INDEX", value_parser = super::logs::parse_index)]
    task: Option<u32>,
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Downloads.
///
/// # Errors
/// When there is no such job or task, it keeps no outputs, or they cannot be fetched or written.
pub(super) async fn run(args: OutputsArgs) -> Result<ExitCode> {
    run::check_out(&args.to)?;
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let view = client.job(args.job).await?;
    check_task(&view.summary, args.task)?;
    check_kept(&view)?;
    let client = client.in_namespace(view.summary.namespace.clone());
    let mut fetching = Fetching::new(&client, &args, &view);
    tokio::select! {
        biased;
        _ = interrupts.next() => return Ok(exit::interrupted()),
        fetched = fetching.all(args.job) => fetched?,
    }
    args.tell(&view, &fetching)?;
    Ok(ExitCode::SUCCESS)
}

impl OutputsArgs {
    fn tell(&self, view: &JobView, fetched: &Fetching<'_>) -> Result<()> {
        let (job, to, open) = (view.summary.id, self.to.display(), view.summary.open());
        if self.json {
            return text::print_json(&json::job::Outputs {
                job: job.to_string(),
                directory: to.to_string(),
                tasks: fetched.trees,
                bytes: fetched.bytes,
                open,
            });
        }
        let trees = match fetched.trees {
            0 => format!("{job} left nothing to download"),
            trees => format!(
                "{job} left outputs of {}, {}: they are in {to}",
                count(trees.into(), "task"),
                short_bytes(fetched.bytes)
            ),
        };
        let more = match open {
            0 => String::new(),
            open => format!("; {} of its tasks have no result yet", grouped(open.into())),
        };
        Ok(text::print(&format!("{}\n", plain(&format!("{trees}{more}"))))?)
    }
}

fn check_kept(view: &JobView) -> Result<()> {
    if view.spec.stages.iter().all(|stage| stage.keep == Keep::Nothing) {
        bail!(
            "{} keeps no outputs: nobody asked for them; start it again with `--out DIR`, or with \
             `outputs = true` in its job file",
            view.summary.id
        );
    }
    Ok(())
}

/// Trees on their way here.
struct Fetching<'a> {
    client: &'a Client,
    to: &'a Path,
    only_task: Option<u32>,
    by_index: bool,
    downloads: JoinSet<Result<()>>,
    trees: u32,
    bytes: u64,
}

impl<'a> Fetching<'a> {
    fn new(client: &'a Client, args: &'a OutputsArgs, view: &JobView) -> Fetching<'a> {
        let array = view.spec.stages.iter().any(StageSpec::is_array);
        Fetching {
            client,
            to: &args.to,
            only_task: args.task,
            by_index: array && args.task.is_none(),
            downloads: JoinSet::new(),
            trees: 0,
            bytes: 0,
        }
    }

    /// Fetches what there is now; does not wait for what running tasks will leave.
    async fn all(&mut self, job: JobId) -> Result<()> {
        let options = WatchOptions { after: None, live: false, follow: false };
        let mut watch = self.client.watch(job, options);
        while let Some(event) = watch.next().await? {
            let JobEvent::Results(results) = event else { continue };
            for (task, result) in results.iter() {
                let wanted = self.only_task.is_none_or(|only| only == task);
                if let Some(tree) = result.out.filter(|_| wanted) {
                    self.fetch(task, InputSource::Tree(tree.digest)).await?;
                    self.trees += 1;
                    self.bytes = self.bytes.saturating_add(tree.size_bytes);
                }
            }
        }
        while !self.downloads.is_empty() {
            self.next().await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, task: u32, tree: InputSource) -> Result<()> {
        while self.downloads.len() >= MAX_DOWNLOADS {
            self.next().await?;
        }
        let to = if self.by_index { self.to.join(task.to_string()) } else { self.to.to_owned() };
        let client = self.client.clone();
        self.downloads.spawn(async move {
            let fetched = client.download(tree, &to).await;
            fetched.with_context(|| {
                format!("cannot write the output of task {task} to {}", to.display())
            })
        });
        Ok(())
    }

    async fn next(&mut self) -> Result<()> {
        match self.downloads.join_next().await {
            Some(done) => done.context("a download stopped")?,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::sample;

    #[test]
    fn a_job_that_keeps_nothing_is_told_how_to_keep_something() {
        let mut view = sample();
        let error = check_kept(&view).expect_err("nothing is kept").to_string();
        assert!(error.contains("job-7") && error.contains("--out DIR"), "{error}");
        view.spec.stages[0].keep = Keep::Out;
        assert!(check_kept(&view).is_ok());
    }
}
