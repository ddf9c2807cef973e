//! `weir job ls`: the jobs of a namespace, filtered and sorted.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use weir_sdk::{
    proto::units::{grouped, short_count, short_duration},
    query::{JobList, JobOrder, JobQuery},
    view::{JobStatus, JobSummary},
};

use crate::{
    clock::{Since, now_ms, parse_since},
    config::{self, Origin},
    connect::{MasterFlag, StaleFlag},
    json,
    number::within,
    text::{self, Table},
};

const EXAMPLES: &str = "\
Examples:
  weir job ls --status failed --since 2h      what failed in the last two hours
  weir job ls --sort fuel --limit 10          the ten that used most
  weir job rm $(weir job ls -q --status succeeded)

With -q or --quiet on the command line only ids are printed.";

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LsArgs {
    /// Only jobs of this status; repeatable, or several with commas between them
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<Status>,
    /// Only jobs whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// Only jobs submitted since: so long ago (`10m`, `2h`), or a date in UTC (`2026-11-22`)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,
    /// Jobs of every namespace
    #[arg(long)]
    all_namespaces: bool,
    /// What they are sorted by: the newest, largest, longest first
    #[arg(long, value_name = "BY", default_value = "newest")]
    sort: Sort,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// At most so many; 0: as many as the master tells at once
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = within(0..=u32::MAX))]
    limit: u32,
    #[command(flatten)]
    master: MasterFlag,
    #[command(flatten)]
    stale: StaleFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A job's status, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Status {
    Active,
    Succeeded,
    Failed,
    Cancelled,
}

/// What jobs are sorted by, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Newest,
    Name,
    Status,
    Tasks,
    Failed,
    Fuel,
    Time,
}

/// Lists jobs.
///
/// # Errors
/// When no master answers.
pub(super) async fn run(args: LsArgs) -> Result<ExitCode> {
    let client = args.stale.of(args.master.connect().await?);
    let namespace = (!args.all_namespaces).then(|| client.namespace().clone());
    let query = JobQuery { namespace, ..args.query(now_ms()) };
    let list = client.jobs(&query).await?;
    if args.json {
        text::print_json(&list.jobs.iter().map(json::job::JobLine::from).collect::<Vec<_>>())?;
    } else if config::current().quiet.origin == Origin::Flag("--quiet") {
        text::print(&list.jobs.iter().map(|job| format!("{}\n", job.id)).collect::<String>())?;
    } else if list.jobs.is_empty() {
        text::note(&args.nothing(&query));
    } else {
        text::print_table(&table(&list.jobs, now_ms(), args.all_namespaces))?;
    }
    if let Some(told) = more(&list) {
        text::note(&told);
    }
    Ok(ExitCode::SUCCESS)
}

impl LsArgs {
    fn query(&self, now_ms: u64) -> JobQuery {
        JobQuery {
            namespace: None,
            statuses: self.status.iter().map(|status| JobStatus::from(*status)).collect(),
            name_contains: self.name.clone(),
            since_ms: self.since.map_or(0, |since| since.unix_ms(now_ms)),
            order: self.sort.into(),
            reverse: self.reverse,
            limit: self.limit,
        }
    }

    /// What is said when there is nothing to list.
    fn nothing(&self, query: &JobQuery) -> String {
        let filtered = !self.status.is_empty() || !self.name.is_empty() || self.since.is_some();
        let place = match &query.namespace {
            Some(namespace) => format!(" in namespace {namespace}"),
            None => String::new(),
        };
        if filtered {
            format!("no job{place} matches; `weir job ls` without filters lists all")
        } else {
            format!("no jobs{place} yet; `weir run MODULE` starts one")
        }
    }
}

/// What is said when more jobs match than are listed.
fn more(list: &JobList) -> Option<String> {
    let (shown, matched) = (list.jobs.len() as u64, u64::from(list.matched));
    (shown < matched).then(|| {
        format!(
            "{} of {} jobs are listed; --limit 0 lists as many as the master tells, --since, \
             --status and --name find others",
            grouped(shown),
            grouped(matched)
        )
    })
}

fn table(jobs: &[JobSummary], now_ms: u64, namespaces: bool) -> Table {
    let mut headings = vec!["JOB", "NAME", "STATUS"];
    if namespaces {
        headings.insert(1, "NAMESPACE");
    }
    headings.extend([">TASKS", ">DONE", ">FAILED", ">RUNNING", ">FUEL", ">TIME", ">AGE"]);
    let mut table = Table::new(&headings);
    for job in jobs {
        let age = Duration::from_millis(now_ms.saturating_sub(job.submitted_ms));
        let mut row = vec![job.id.to_string(), job.name.clone(), job.state_word().to_owned()];
        if namespaces {
            row.insert(1, job.namespace.to_string());
        }
        row.extend([
            grouped(job.tasks.into()),
            grouped(job.done().into()),
            grouped(job.failed.into()),
            grouped(job.running.into()),
            short_count(job.fuel),
            short_duration(job.wall_time().unwrap_or(age)),
            short_duration(age),
        ]);
        table.row(row);
    }
    table
}

impl From<Status> for JobStatus {
    fn from(status: Status) -> JobStatus {
        match status {
            Status::Active => JobStatus::Active,
            Status::Succeeded => JobStatus::Succeeded,
            Status::Failed => JobStatus::Failed,
            Status::Cancelled => JobStatus::Cancelled,
        }
    }
}

impl From<Sort> for JobOrder {
    fn from(sort: Sort) -> JobOrder {
        match sort {
            Sort::Newest => JobOrder::Newest,
            Sort::Name => JobOrder::Name,
            Sort::Status => JobOrder::Status,
            Sort::Tasks => JobOrder::Tasks,
            Sort::Failed => JobOrder::Failed,
            Sort::Fuel => JobOrder::Fuel,
            Sort::Time => JobOrder::Time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::sample;

    #[test]
    fn a_listed_job_shows_its_progress_in_human_units() {
        let shown = table(&[sample().summary], 61_000, false).render(None);
        let row = shown.lines().nth(1).expect("a row");
        for word in ["job-7", "active", "20,000", "19,010", "5.00 G", "1m00s"] {
            assert!(row.contains(word), "{word} in {row}");
        }
        assert!(!shown.contains('\x1b') && !shown.contains("NAMESPACE"));
    }

    #[test]
    fn a_list_of_all_namespaces_says_whose_each_job_is() {
        let shown = table(&[sample().summary], 61_000, true).render(None);
        let words: Vec<_> = shown.lines().map(|row| row.split_whitespace().nth(1)).collect();
        assert_eq!(words, [Some("NAMESPACE"), Some("default")]);
    }

    #[test]
    fn jobs_that_are_not_listed_are_counted() {
        let list = |matched| JobList { jobs: vec![sample().summary], matched };
        assert_eq!(more(&list(1)), None);
        let told = more(&list(1_234)).expect("more");
        assert!(told.starts_with("1 of 1,234 jobs") && told.contains("--limit 0"), "{told}");
    }
}
