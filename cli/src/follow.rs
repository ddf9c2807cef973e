//! Follows a job to its end: shows what its tasks write, fetches what they leave, adds up how they
//! ended. `weir run`, `weir job wait` and `weir job logs` differ only in what they ask for.

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{sync::oneshot, task::JoinSet};
use weir_sdk::{
    Client,
    event::{JobEvent, Results},
    proto::{
        id::JobId,
        job::InputSource,
        outcome::Usage,
        page::TaskResult,
        range::{RangeSet, TaskRange},
    },
    view::JobView,
    watch::{Watch, WatchOptions},
};

use crate::{
    json,
    output::{Printer, Show},
    progress::Progress,
    signals::{Asked, Interrupts},
    tally::Tally,
    text,
};

/// Most trees that are fetched at once.
const MAX_DOWNLOADS: usize = 8;
/// Longest wait for a cancelled job to end.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is asked how many tasks run, while somebody sees it.
const RUNNING_EVERY: Duration = Duration::from_secs(1);
/// How long nothing may happen before it is told why.
const NOTICE_AFTER: Duration = Duration::from_secs(3);

/// What is done with a job's events.
#[derive(Debug)]
pub(crate) struct Follow {
    /// Whose output is shown; nothing when absent.
    pub(crate) show: Option<Show>,
    /// Each task's result is a line of JSON on stdout.
    pub(crate) json: bool,
    /// Where trees of `/out` go.
    pub(crate) out: Option<OutDir>,
    /// Whether to stay until the job has ended.
    pub(crate) wait: bool,
    /// What an interrupt does.
    pub(crate) on_interrupt: OnInterrupt,
    /// Whether to say on stderr why nothing happens.
    pub(crate) remarks: bool,
    /// The line that tells how far the job is.
    pub(crate) progress: Progress,
}

/// What Ctrl-C does to a job that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// Cancels it: it was started by this command.
    Cancel,
    /// Asks, where somebody can answer, whether to cancel it or to let it run on; the second time it
    /// cancels it.
    Ask,
    /// Lets it run on.
    Leave,
}

/// Where outputs go.
#[derive(Debug, Clone)]
pub(crate) struct OutDir {
    /// The directory named by `--out`.
    pub(crate) base: PathBuf,
    /// Whether each task has a directory of its own in it.
    pub(crate) by_index: bool,
}

/// How following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The job has ended.
    Ended {
        /// The last word about it.
        view: Box<JobView>,
        /// How its tasks ended.
        tally: Tally,
    },
    /// All that was asked for is told, and the job goes on.
    Told,
    /// Ctrl-C, and the job goes on.
    Interrupted,
    /// Somebody was asked, and lets the job go on without this command.
    Detached,
}

/// What somebody wants of a job that this command started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// To let it run on, without this command.
    Detach,
    /// To cancel it.
    Cancel,
    /// To go on as before.
    Stay,
}

/// Follows a job.
///
/// # Errors
/// When the watch breaks, stdout is closed, or an output cannot be fetched or written.
pub(crate) async fn follow(
    client: &Client,
    job: JobId,
    interrupts: &mut Interrupts,
    plan: Follow,
) -> Result<Followed> {
    // What tasks left is in the job's namespace, whichever this command is in.
    let client = client.in_namespace(client.job(job).await?.summary.namespace);
    let followed = follow_job(&client, job, interrupts, &plan).await;
    plan.progress.clear();
    followed
}

async fn follow_job(
    client: &Client,
    job: JobId,
    interrupts: &mut Interrupts,
    plan: &Follow,
) -> Result<Followed> {
    let live = plan.show.is_some() && plan.wait;
    let mut watch = client.watch(job, WatchOptions { after: None, live, follow: plan.wait });
    let mut following = Following {
        printer: plan.show.map(|show| Printer::new(client.clone(), show, plan.progress.clone())),
        client: client.clone(),
        json: plan.json,
        out: plan.out.clone(),
        progress: plan.progress.clone(),
        downloads: JoinSet::new(),
        tally: Tally::default(),
    };
    let mut deadline = None;
    let mut notice = pin!(tokio::time::sleep(NOTICE_AFTER));
    let mut nothing_yet = plan.remarks;
    let _running = tell_running(client, job, &plan.progress);
    let mut question: Option<oneshot::Receiver<Wish>> = None;
    loop {
        let event = tokio::select! {
            biased;
            asked = interrupts.next() => {
                match plan.on_interrupt {
                    OnInterrupt::Leave => return Ok(Followed::Interrupted),
                    OnInterrupt::Ask if question.is_none() && can_be_asked(asked) => {
                        interrupts.be_patient();
                        question = Some(ask(job, &plan.progress));
                    }
                    OnInterrupt::Cancel | OnInterrupt::Ask => {
                        deadline = Some(cancel(client, job, &plan.progress).await?);
                    }
                }
                continue;
            }
            wish = answered(&mut question) => {
                match wish {
                    Wish::Detach => return Ok(Followed::Detached),
                    Wish::Cancel => deadline = Some(cancel(client, job, &plan.progress).await?),
                    Wish::Stay => {}
                }
                continue;
            }
            event = next_before(&mut watch, deadline) => event?,
            () = &mut notice, if nothing_yet => {
                nothing_yet = false;
                tell_why_it_waits(client, job, &plan.progress).await;
                continue;
            }
        };
        nothing_yet = false;
        match event {
            Some(JobEvent::Ended(view)) => {
                following.finish(&view).await?;
                return Ok(Followed::Ended { view, tally: following.tally });
            }
            Some(event) => following.event(event).await?,
            None => return Ok(Followed::Told),
        }
    }
}

/// Cancels a job; until when it should have ended.
async fn cancel(client: &Client, job: JobId, progress: &Progress) -> Result<Instant> {
    progress.above(|| text::remark(&format!("cancelling {job}")));
    client.cancel(job).await?;
    Ok(Instant::now() + CANCEL_TIMEOUT)
}

/// Whether whoever asked us to stop is a person who can read a question and answer it.
fn can_be_asked(asked: Asked) -> bool {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    asked == Asked::Interrupt && terminal
}

/// Asks what is to become of a job. Whoever answers writes a line.
fn ask(job: JobId, progress: &Progress) -> oneshot::Receiver<Wish> {
    progress.above(|| {
        text::remark(&format!(
            "{job} runs: write `d` to detach and let it go on, `c` to cancel it, or nothing to stay \
             (Ctrl-C again cancels it)"
        ));
    });
    let (answer, answered) = oneshot::channel();
    // Reads until there is a line, and no longer than the process lives.
    std::thread::spawn(move || {
        let mut line = String::new();
        let wish = match std::io::stdin().read_line(&mut line) {
            Ok(1..) => match line.trim().to_ascii_lowercase().as_str() {
                "d" | "detach" => Wish::Detach,
                "c" | "cancel" => Wish::Cancel,
                _ => Wish::Stay,
            },
            Ok(0) | Err(_) => Wish::Stay,
        };
        // The job may have ended meanwhile.
        let _ended = answer.send(wish);
    });
    answered
}

/// Waits for the answer to a question, if one was asked.
async fn answered(question: &mut Option<oneshot::Receiver<Wish>>) -> Wish {
    let Some(asked) = question else { return std::future::pending().await };
    let wish = asked.await.unwrap_or(Wish::Stay);
    *question = None;
    wish
}

/// Asks every now and then how many tasks run, for as long as what is returned lives.
fn tell_running(client: &Client, job: JobId, progress: &Progress) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    if progress.is_shown() {
        let (client, progress) = (client.clone(), progress.clone());
        asking.spawn(async move {
            loop {
                if let Ok(view) = client.job(job).await {
                    progress.update(|numbers| numbers.running = view.summary.running);
                }
                tokio::time::sleep(RUNNING_EVERY).await;
            }
        });
    }
    asking
}

/// Says why a job waits, if it does; not to know is no reason to stop.
async fn tell_why_it_waits(client: &Client, job: JobId, progress: &Progress) {
    if let Ok(view) = client.job(job).await
        && view.summary.running == 0
    {
        for reason in view.waits() {
            progress.above(|| text::remark(&format!("{job} waits: {reason}")));
        }
    }
}

async fn next_before(watch: &mut Watch, deadline: Option<Instant>) -> Result<Option<JobEvent>> {
    let Some(deadline) = deadline else { return Ok(watch.next().await?) };
    match tokio::time::timeout_at(deadline.into(), watch.next()).await {
        Ok(event) => Ok(event?),
        Err(_) => bail!(
            "the job is cancelled but did not end in {} s; its tasks may still run",
            CANCEL_TIMEOUT.as_secs()
        ),
    }
}

struct Following {
    client: Client,
    printer: Option<Printer>,
    json: bool,
    out: Option<OutDir>,
    downloads: JoinSet<Result<()>>,
    tally: Tally,
    progress: Progress,
}

impl Following {
    async fn event(&mut self, event: JobEvent) -> Result<()> {
        match event {
            JobEvent::Results(results) => self.results(&results).await,
            JobEvent::Verdict { range, outcome } => {
                self.tally.verdict(range, &outcome);
                if self.json {
                    for task in range.start..range.end {
                        text::print(&json::verdict_line(task, &outcome)?)?;
                    }
                }
                self.finish_tasks(range);
                self.tell_progress();
                Ok(())
            }
            JobEvent::Live(chunk) => match &mut self.printer {
                Some(printer) => printer.live(&chunk),
                None => Ok(()),
            },
            JobEvent::Ended(_) => Ok(()),
        }
    }

    async fn results(&mut self, results: &Results) -> Result<()> {
        let mut lines = String::new();
        let mut ended = RangeSet::new();
        for (task, result) in results.iter() {
            if self.tally.knows(task) {
                continue;
            }
            let usage = if results.kept { Usage::default() } else { result.usage };
            self.tally.result(task, result, usage);
            ended.insert(TaskRange::single(task));
            if let Some(printer) = &mut self.printer {
                printer.result(task, result).await?;
            }
            if self.json {
                lines.push_str(&json::result_line(task, result)?);
            }
            self.download(task, result).await?;
        }
        for range in ended.ranges() {
            self.finish_tasks(*range);
        }
        self.tell_progress();
        Ok(text::print(&lines)?)
    }

    fn tell_progress(&self) {
        self.progress.update(|numbers| {
            numbers.done = self.tally.ended_tasks();
            numbers.failed = self.tally.failed();
            numbers.fuel = self.tally.fuel();
        });
    }

    fn finish_tasks(&mut self, tasks: TaskRange) {
        if let Some(printer) = &mut self.printer {
            printer.finish(tasks);
        }
    }

    async fn download(&mut self, task: u32, result: &TaskResult) -> Result<()> {
        let (Some(out), Some(tree)) = (self.out.clone(), result.out) else { return Ok(()) };
        while self.downloads.len() >= MAX_DOWNLOADS {
            self.next_download().await?;
        }
        let to = if out.by_index { out.base.join(task.to_string()) } else { out.base.clone() };
        let client = self.client.clone();
        self.downloads.spawn(async move {
            let fetched = client.download(InputSource::Tree(tree.digest), &to).await;
            fetched.with_context(|| {
                format!("cannot write the output of task {task} to {}", to.display())
            })
        });
        Ok(())
    }

    async fn next_download(&mut self) -> Result<()> {
        match self.downloads.join_next().await {
            Some(done) => done.context("a download stopped")?,
            None => Ok(()),
        }
    }

    async fn finish(&mut self, view: &JobView) -> Result<()> {
        while !self.downloads.is_empty() {
            self.next_download().await?;
        }
        let known = self.tally.ended_tasks();
        if known != view.summary.tasks {
            bail!(
                "{} has ended, but the master told the results of {known} of its {} tasks only",
                view.summary.id,
                view.summary.tasks
            );
        }
        Ok(())
    }
}
