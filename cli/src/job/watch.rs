//! `weir job watch`: a job's progress until its end: drawn over again on a terminal, a line a second
//! where something changed elsewhere.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use weir_sdk::{
    Client,
    client::JobError,
    proto::{
        id::JobId,
        lease::PrepareStep,
        units::{grouped, short_count, short_duration},
    },
    rpc::RpcError,
    view::{JobSummary, JobView, PreparingView},
};

use super::wait::{self, Telling};
use crate::{
    clock::now_ms,
    completions::candidates,
    config,
    connect::MasterFlag,
    exit,
    json::job::Progress,
    rate::Rate,
    screen::Screen,
    signals::Interrupts,
    tally::count,
    text::{self, plain},
};

/// How often a job is looked at: as often as people can read, and more rarely for a log.
const PAUSE_ON_TERMINAL: Duration = Duration::from_millis(250);
const PAUSE_ELSEWHERE: Duration = Duration::from_secs(1);
/// How long a master may be away, such as for a restart.
const MAX_AWAY: Duration = Duration::from_secs(30);
/// Most causes that are drawn.
const MAX_CAUSES: usize = 5;

const EXAMPLES: &str = "\
Examples:
  weir job watch 7
  weir job watch 7 --json | jq .left_ms

Ctrl-C ends the watch and lets the job go on.";

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::jobs())]
    job: JobId,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each change, and one for the end
    #[arg(long)]
    json: bool,
}

/// Watches; exits as `weir run` would have.
///
/// # Errors
/// When there is no such job or no master, or stdout is closed.
pub(super) async fn run(args: WatchArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let mut watch = Watch::new(client.clone(), args.job, args.json);
    let ended = tokio::select! {
        biased;
        _ = interrupts.next() => false,
        watched = watch.until_the_end() => watched.map(|()| true)?,
    };
    watch.screen.clear();
    if !ended {
        text::note(&format!("{} goes on; `weir job watch {}` looks again", args.job, args.job.0));
        return Ok(exit::interrupted());
    }
    let telling = Telling { tasks: false, json: args.json };
    wait::end(&client, args.job, &mut interrupts, telling).await
}

struct Watch {
    client: Client,
    job: JobId,
    json: bool,
    rate: Rate,
    screen: Screen,
    /// What was told last, apart from rates.
    told: Option<Told>,
}

/// What a new line is worth being told for.
type Told = (JobSummary, Vec<String>, Vec<(String, PrepareStep)>);

impl Watch {
    fn new(client: Client, job: JobId, json: bool) -> Watch {
        Watch { client, job, json, rate: Rate::new(), screen: Screen::default(), told: None }
    }

    async fn until_the_end(&mut self) -> Result<()> {
        loop {
            let silent = self.json || config::current().quiet.value;
            let columns = if silent { None } else { text::stderr_columns() };
            let view = self.look(columns).await?;
            let (done, now) = (view.summary.done(), Instant::now());
            self.rate.add(now, done.into(), view.summary.fuel);
            self.tell(&view, columns)?;
            if view.summary.status.ended() {
                return Ok(());
            }
            let on_terminal = columns.is_some();
            tokio::time::sleep(if on_terminal { PAUSE_ON_TERMINAL } else { PAUSE_ELSEWHERE }).await;
        }
    }

    /// The job as it is now; waits for a master that is away for a while.
    async fn look(&mut self, columns: Option<usize>) -> Result<JobView> {
        let mut away: Option<Instant> = None;
        loop {
            let error = match self.client.job(self.job).await {
                Ok(view) => return Ok(view),
                Err(error) => error,
            };
            let since = *away.get_or_insert_with(Instant::now);
            let may_pass = matches!(error, JobError::Rpc(RpcError::Unavailable { .. }));
            if !may_pass || since.elapsed() > MAX_AWAY {
                return Err(error.into());
            }
            if let Some(columns) = columns {
                let line = format!("the master at {} is away", self.client.address());
                self.screen.draw(&[line], columns);
            }
            tokio::time::sleep(PAUSE_ELSEWHERE).await;
        }
    }

    fn tell(&mut self, view: &JobView, columns: Option<usize>) -> Result<()> {
        if let Some(columns) = columns {
            self.screen.draw(&drawn(view, &self.rate, now_ms(), columns), columns);
            return Ok(());
        }
        // Who prepares what is news, not for how long by now.
        let step = |told: &PreparingView| (told.agent.clone(), told.preparing.step);
        let preparing = view.preparing.iter().map(step).collect();
        let now = (view.summary.clone(), view.waiting.clone(), preparing);
        if self.told.as_ref() == Some(&now) {
            return Ok(());
        }
        if self.json {
            text::print_json_line(&Progress::new(view, &self.rate, now_ms()))?;
        } else if !view.summary.status.ended() && !config::current().quiet.value {
            text::print_error(&format!("{}\n", plain(&line(view, &self.rate))));
        }
        self.told = Some(now);
        Ok(())
    }
}

/// A job's progress in a line.
fn line(view: &JobView, rate: &Rate) -> String {
    let mut line = format!("{}: {}", view.summary.id, progress(view));
    let speed = speed(view, rate);
    if !speed.is_empty() {
        line.push_str(&format!("; {speed}"));
    }
    for reason in waits(view) {
        line.push_str(&format!("; waits: {reason}"));
    }
    line
}

/// A job's progress as lines of a terminal.
fn drawn(view: &JobView, rate: &Rate, now_ms: u64, columns: usize) -> Vec<String> {
    let job = &view.summary;
    let age = Duration::from_millis(now_ms.saturating_sub(job.submitted_ms));
    let time = short_duration(job.wall_time().unwrap_or(age));
    let mut lines = vec![
        format!("{}  {}  {}  {time}", job.id, job.name, job.state_word()),
        bar(job.done(), job.tasks, columns),
        progress(view),
    ];
    let speed = speed(view, rate);
    if !speed.is_empty() {
        lines.push(speed);
    }
    let causes = view.stages.iter().flat_map(|stage| &stage.causes);
    for cause in causes.take(MAX_CAUSES) {
        let (tasks, first) = (count(cause.tasks.into(), "task"), cause.first);
        lines.push(format!("{tasks}: {}, first task {first}", cause.cause));
    }
    lines.extend(waits(view).iter().map(|reason| format!("waits: {reason}")));
    lines.iter().map(|line| plain(line).into_owned()).collect()
}

/// Why a job does not run; that others wait their turn while some run is no news.
fn waits(view: &JobView) -> Vec<String> {
    if view.summary.running == 0 { view.waits() } else { Vec::new() }
}

fn progress(view: &JobView) -> String {
    let job = &view.summary;
    let (done, tasks) = (grouped(job.done().into()), count(job.tasks.into(), "task"));
    let mut line = format!("{done} of {tasks} done");
    for (number, what) in
        [(job.running, "running"), (job.failed, "failed"), (job.cancelled, "cancelled")]
    {
        if number > 0 {
            line.push_str(&format!(", {} {what}", grouped(number.into())));
        }
    }
    line
}

/// Rates and the time left, as far as they are known.
fn speed(view: &JobView, rate: &Rate) -> String {
    let mut parts = Vec::new();
    if let Some(tasks) = rate.tasks_per_s() {
        let decimals = if tasks < 10.0 { 1 } else { 0 };
        parts.push(format!("{tasks:.decimals$} tasks/s"));
    }
    if let Some(fuel) = rate.fuel_per_s() {
        parts.push(format!("{} fuel/s", short_count(fuel as u64)));
    }
    if let Some(left) = rate.left(view.summary.open().into()) {
        // A guess is no better than to the second.
        let left = Duration::from_secs(left.as_secs_f64().ceil() as u64);
        parts.push(match left.as_secs() {
            seconds @ 0..60 => format!("{seconds} s left"),
            _ => format!("{} left", short_duration(left)),
        });
    }
    parts.join(", ")
}

/// `[=====>    ]  55%`, as wide as there is room, up to a half of a usual terminal.
fn bar(done: u32, tasks: u32, columns: usize) -> String {
    let room = columns.saturating_sub(9).clamp(4, 40);
    let (done, tasks) = (u64::from(done), u64::from(tasks.max(1)));
    let filled = (done * room as u64 / tasks) as usize;
    let head = if filled < room { ">" } else { "" };
    let rest = room - filled - head.len();
    format!("[{}{head}{}] {:>3}%", "=".repeat(filled), " ".repeat(rest), done * 100 / tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::sample;

    fn rate() -> Rate {
        let (start, mut rate) = (Instant::now(), Rate::new());
        rate.add(start, 0, 0);
        rate.add(start + Duration::from_secs(2), 20, 4_000_000);
        rate
    }

    #[test]
    fn a_line_tells_progress_rates_and_the_time_left() {
        assert_eq!(
            line(&sample(), &rate()),
            "job-7: 19,010 of 20,000 tasks done, 2 running, 10 failed; 10 tasks/s, 2.00 M fuel/s, \
             1m39s left"
        );
        let unknown = line(&sample(), &Rate::new());
        assert!(!unknown.contains("/s") && !unknown.contains("left"), "{unknown}");
    }

    #[test]
    fn what_is_drawn_has_a_bar_and_the_causes_and_no_control_characters() {
        let lines = drawn(&sample(), &rate(), 61_000, 80);
        assert_eq!(lines[0], "job-7  bad\u{fffd}[2Jname  active  1m00s");
        assert!(lines[1].ends_with("]  95%"), "{}", lines[1]);
        assert!(lines.contains(&"9 tasks: out of fuel, first task 7".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("waits")), "{lines:?}");
    }

    #[test]
    fn a_job_of_which_nothing_runs_says_why() {
        let mut view = sample();
        view.summary.running = 0;
        let lines = drawn(&view, &rate(), 61_000, 80);
        assert_eq!(lines.last().map(String::as_str), Some("waits: every core is busy"));
        assert!(line(&view, &rate()).ends_with("; waits: every core is busy"));
    }

    #[test]
    fn a_bar_is_as_wide_as_there_is_room() {
        assert_eq!(bar(0, 4, 13), "[>   ]   0%");
        assert_eq!(bar(2, 4, 13), "[==> ]  50%");
        assert_eq!(bar(4, 4, 13), "[====] 100%");
        assert_eq!(bar(u32::MAX, u32::MAX, 200).len(), 40 + 7);
    }
}
