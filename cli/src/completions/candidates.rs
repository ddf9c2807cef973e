//! What a cluster has, as candidates for a word: jobs, names, agents, namespaces. Somebody has pressed
//! a key and waits, so a master that is slow is as good as none.

use std::{collections::BTreeSet, ffi::OsStr, time::Duration};

use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};
use weir_sdk::{
    Client,
    query::JobQuery,
    view::{JobStatus, JobSummary},
};

use crate::{connect::MasterFlag, text::plain};

/// Longest wait for the cluster.
const PATIENCE: Duration = Duration::from_millis(300);
/// Most jobs that are told; who looks for an older one knows its number.
const MAX_JOBS: u32 = 50;
const ENDED: [JobStatus; 3] = [JobStatus::Succeeded, JobStatus::Failed, JobStatus::Cancelled];

/// Jobs: first those that are active, then those that have ended, of both the newest first.
pub(crate) fn jobs() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| complete_jobs(word, &[&[JobStatus::Active], &ENDED]))
}

/// Active jobs, the newest first.
pub(crate) fn active_jobs() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| complete_jobs(word, &[&[JobStatus::Active]]))
}

/// Jobs that have ended, the newest first.
pub(crate) fn ended_jobs() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| complete_jobs(word, &[&ENDED]))
}

/// Names in the store.
pub(crate) fn names() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| complete_names(word, ""))
}

/// What is in the store under a name, `name:NAME`.
pub(crate) fn places() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| complete_names(word, "name:"))
}

/// Paths, and `name:NAME`.
pub(crate) fn sources() -> ArgValueCompleter {
    ArgValueCompleter::new(complete_sources)
}

/// `NAME=` and a source.
pub(crate) fn inputs() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let Some((name, source)) = word.to_str().and_then(|word| word.split_once('=')) else {
            return Vec::new();
        };
        let found = complete_sources(OsStr::new(source)).into_iter();
        found.map(|found| found.add_prefix(format!("{name}="))).collect()
    })
}

/// What can be run: modules and job files, and `name:NAME`.
pub(crate) fn modules() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let files = PathCompleter::any().filter(|path| {
            let extension = path.extension().and_then(OsStr::to_str);
            path.is_file() && matches!(extension, Some("wasm" | "toml"))
        });
        let mut found = files.complete(word);
        found.extend(complete_names(word, "name:"));
        found
    })
}

/// Agents, by their names.
pub(crate) fn agents() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let status = ask(|client| async move { client.status().await.ok() });
        let agents = status.map(|status| status.agents).unwrap_or_default();
        let found = agents.iter().map(|view| {
            let state = view.life.word();
            candidate(&view.agent.name, format!("{}, {state}", view.agent.id))
        });
        beginning_with(word, found)
    })
}

/// Namespaces in which there are jobs, or that have a weight.
pub(crate) fn namespaces() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let listed = ask(|client| async move {
            let jobs = client.jobs(&JobQuery::default()).await.ok()?.jobs;
            Some((jobs, client.namespaces().await.unwrap_or_default()))
        });
        let (jobs, known) = listed.unwrap_or_default();
        let mut namespaces: BTreeSet<String> =
            jobs.iter().map(|job| job.namespace.to_string()).collect();
        namespaces.extend(known.iter().map(|view| view.namespace.to_string()));
        beginning_with(word, namespaces.into_iter().map(CompletionCandidate::new))
    })
}

/// Jobs of the namespace with these statuses, those of an earlier group first.
fn complete_jobs(
    word: &OsStr,
    groups: &'static [&'static [JobStatus]],
) -> Vec<CompletionCandidate> {
    // `7` is less to read, but who has begun to write `job-7` wants that.
    let prefix = if word.to_string_lossy().starts_with('j') { "job-" } else { "" };
    let jobs = ask(|client| async move {
        let mut jobs = Vec::new();
        for statuses in groups {
            let query = JobQuery {
                namespace: Some(client.namespace().clone()),
                statuses: statuses.to_vec(),
                limit: MAX_JOBS,
                ..JobQuery::default()
            };
            jobs.extend(client.jobs(&query).await.ok()?.jobs);
        }
        Some(jobs)
    });
    let jobs = jobs.unwrap_or_default();
    beginning_with(word, jobs.iter().map(|job| job_candidate(job, prefix)))
}

fn job_candidate(job: &JobSummary, prefix: &str) -> CompletionCandidate {
    let about = format!("{}, {}", job.name, job.state_word());
    candidate(&format!("{prefix}{}", job.id.0), about)
}

/// Names with a prefix before each, which may itself not be complete yet.
fn complete_names(word: &OsStr, prefix: &'static str) -> Vec<CompletionCandidate> {
    let Some(text) = word.to_str() else { return Vec::new() };
    if !prefix.starts_with(text) && !text.starts_with(prefix) {
        return Vec::new();
    }
    let begun = text.strip_prefix(prefix).unwrap_or_default().to_owned();
    let names = ask(|client| async move { Some(client.names(&begun).await.ok()?.0) });
    let names = names.unwrap_or_default();
    let found = names
        .iter()
        .map(|named| candidate(&format!("{prefix}{}", named.name), named.target.to_string()));
    beginning_with(word, found)
}

fn complete_sources(word: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = PathCompleter::any().complete(word);
    found.extend(complete_names(word, "name:"));
    found
}

/// A candidate with what it is. Both come from a cluster, and go to a terminal.
fn candidate(value: &str, about: String) -> CompletionCandidate {
    CompletionCandidate::new(plain(value).into_owned())
        .help(Some(plain(&about).into_owned().into()))
}

fn beginning_with(
    word: &OsStr,
    candidates: impl Iterator<Item = CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    let begun = word.as_encoded_bytes();
    candidates.filter(|found| found.get_value().as_encoded_bytes().starts_with(begun)).collect()
}

/// What the cluster answers; nothing if there is none, or it takes too long.
fn ask<T, F>(question: impl FnOnce(Client) -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let asked = async { question(MasterFlag::default().connect().await.ok()?).await };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await.ok() });
    // Dropping it would wait for a name that is still looked up.
    runtime.shutdown_background();
    answer.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_with_its_name_and_status_and_cannot_steer_the_terminal() {
        let job = crate::job::sample().summary;
        let found = job_candidate(&job, "job-");
        assert_eq!(found.get_value(), "job-7");
        let about = found.get_help().expect("what it is").to_string();
        assert_eq!(about, "bad\u{fffd}[2Jname, active");
    }

    #[test]
    fn an_input_is_completed_after_its_equals_sign() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("book.txt"), "x").expect("a file");
        let word = format!("text={}/b", directory.path().display());
        let found = inputs().complete(OsStr::new(&word));
        let found: Vec<_> = found.iter().map(|found| found.get_value().to_owned()).collect();
        assert_eq!(found, [format!("text={}/book.txt", directory.path().display()).as_str()]);
        assert!(inputs().complete(OsStr::new("tex")).is_empty());
    }
}
