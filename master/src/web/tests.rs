//! Pages of states that were made here: what they say, what they cannot be made to say, and how
//! long that takes.

use std::{sync::Arc, time::Instant};

use weir_proto::{
    agent::AgentDescription,
    command::{Change, Command},
    digest::Digest,
    id::{AgentId, ClusterId, Incarnation, JobId, Namespace, RequestId, StageId},
    job::{JobSpec, StageSpec, TaskKind},
    lease::{PrepareStep, Preparing},
    limits::Resources,
    outcome::{Exceeded, Outcome, Usage},
    page::{Page, TaskResult},
};
use weir_scheduler::{apply::apply, state::ClusterState};
use weir_store::blobs::Stat;

use super::{
    facts::{self, AgentUse, Facts, JobFacts, Soft},
    job_page, status_page,
};
use crate::{
    metrics::Throughput,
    rpc::view::{Advice, PreparingTasks},
};

const HOUR_MS: u64 = 3_600_000;

/// A log of one master, applied as it is written.
struct Log {
    state: ClusterState,
    now_ms: u64,
}

impl Log {
    fn new() -> Log {
        let mut log = Log { state: ClusterState::default(), now_ms: HOUR_MS };
        log.apply(Change::CreateCluster(ClusterId(0xabc)));
        log
    }

    fn apply(&mut self, change: Change) {
        let command = Command { now_ms: self.now_ms, change };
        let index = self.state.applied + 1;
        apply(&mut self.state, command, index).expect("nothing here is refused");
    }

    fn submit(&mut self, name: &str, count: u32) -> JobId {
        let stage = StageSpec {
            count,
            kind: TaskKind::Array,
            ..StageSpec::new("main", Digest::of(b"module"))
        };
        let namespace = Namespace::default_namespace();
        let spec = JobSpec { name: name.to_owned(), namespace, stages: vec![stage], priority: 0 };
        let request = RequestId((u128::from(self.state.last_job) + 1).to_le_bytes());
        self.apply(Change::SubmitJob { request, spec });
        JobId(self.state.last_job)
    }

    /// Tasks from `first` on end so.
    fn end(&mut self, job: JobId, first: u32, tasks: usize, outcome: Outcome) {
        let usage = Usage {
            fuel: 2_000_000,
            peak_memory_bytes: 3 << 20,
            wall_us: 1_500,
            ..Usage::default()
        };
        let results = vec![TaskResult::without_output(outcome, usage); tasks];
        let page = Page { stage: StageId { job, stage: 0 }, first, results }.encode();
        self.apply(Change::CommitPages { agent: AgentId(1), pages: vec![page] });
    }

    fn agent(&mut self, id: u64, name: &str) {
        self.apply(Change::RegisterAgent(AgentDescription {
            id: AgentId(id),
            incarnation: Incarnation(1),
            name: name.to_owned(),
            architecture: "x86_64".to_owned(),
            profile: "weir-1".to_owned(),
            epoch_profile: None,
            resources: Resources {
                countables: [("gpu", 4)].into_iter().collect(),
                ..Resources::new(4_000, 8 << 30)
            },
            fuel_per_second: 1_000_000_000,
            version: "0.1.0".to_owned(),
        }));
    }

    fn facts(self) -> Facts {
        let rows = facts::rows(&self.state);
        Facts {
            rows,
            state: Arc::new(self.state),
            now_ms: self.now_ms,
            url: "http://127.0.0.1:7400".to_owned(),
            soft: Soft { leads: true, term: 3, ..Soft::default() },
            rates: Throughput::default().rates(),
            store: Some(Stat { blobs: 12, bytes: 5 << 20, disk: Some((1 << 30, 4 << 30)) }),
            watchers: 0,
            viewers: 1,
        }
    }
}

fn success() -> Outcome {
    Outcome::Succeeded { exit_code: 0 }
}

#[test]
fn an_empty_cluster_says_what_to_do() {
    let page = status_page::page(&Log::new().facts());

    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    for text in [
        "cluster-0000000000000abc",
        "weir run hello.wasm",
        "weir agent --master http://127.0.0.1:7400 --data-dir ./agent",
        "leader",
        "5.00 MiB",
    ] {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
}

#[test]
fn jobs_and_agents_are_told_in_numbers_for_people() {
    let mut log = Log::new();
    log.agent(7, "rack-1");
    log.agent(8, "rack-2");
    log.apply(Change::AgentLost { agent: AgentId(8), suspects: Vec::new() });
    let job = log.submit("render", 20_000);
    log.end(job, 0, 1_231, success());
    log.end(job, 1_231, 3, Outcome::Failed { exit_code: 9 });
    log.now_ms += 90_000;
    let mut facts = log.facts();
    facts.soft.running_of.insert(job, 4);
    let used = Resources {
        countables: [("gpu", 3)].into_iter().collect(),
        ..Resources::new(2_500, 1 << 30)
    };
    facts.soft.agents.insert(AgentId(7), AgentUse { used, leases: 2, connected: true });

    let page = status_page::page(&facts);

    for text in [
        "1,234 of 20,000 · 3 failed · 4 running",
        "aria-valuenow=\"1234\"",
        "href=\"/job/1\"",
        "1m30s",
        "2.47 G",
        "2.5 of 4",
        "gpu 3 of 4",
        "1.00 GiB of 8.00 GiB",
        "1 lost",
    ] {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
    let reading = facts.reading();
    assert_eq!((reading.agents_live, reading.agents_lost, reading.open_tasks), (1, 1, 18_766));
    assert_eq!((reading.cpu_millis, reading.cpu_millis_used), (4_000, 2_500));
}

fn preparing(agent: &str) -> PreparingTasks {
    let preparing = Preparing { step: PrepareStep::Compile, for_ms: 12_000 };
    PreparingTasks { agent: agent.to_owned(), stage: 0, tasks: 1, preparing }
}

#[test]
fn names_of_strangers_stay_text() {
    let mut log = Log::new();
    let nasty = "<script>alert(1)</script>\"'&\u{202e}\r\n\x1b[2J";
    let job = log.submit(nasty, 1);
    log.agent(1, nasty);
    let record = Arc::clone(&log.state.jobs[&job]);
    let facts = log.facts();
    let advice = Advice {
        running: vec![1],
        waiting: vec![nasty.to_owned()],
        preparing: vec![preparing(nasty)],
    };
    let job_facts = JobFacts { job: record, now_ms: facts.now_ms, advice };

    for page in [status_page::page(&facts), job_page::page(&job_facts)] {
        assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"), "{page}");
        let control = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!page.contains(control), "{page:?}");
        assert!(!page.contains(" style=") && !page.contains("onclick"), "the policy forbids it");
    }
}

#[test]
fn a_jobs_page_tells_why_tasks_failed_and_wait() {
    let mut log = Log::new();
    let job = log.submit("sum", 100);
    log.end(job, 0, 40, success());
    log.end(job, 40, 2, Outcome::Failed { exit_code: 9 });
    log.end(job, 50, 5, Outcome::OutOfFuel(Exceeded { used: 5, limit: 5 }));
    let record = Arc::clone(&log.state.jobs[&job]);
    let waiting = vec!["no agent is connected".to_owned()];
    let advice = Advice { running: vec![3], waiting, preparing: vec![preparing("pi")] };

    let page = job_page::page(&JobFacts { job: record, now_ms: log.now_ms, advice });

    for text in [
        "47 of 100 · 7 failed · 3 running",
        "out of fuel",
        "failed: exit code 9",
        "task 40",
        "<code>50–54</code>",
        "no agent is connected",
        "<li>agent pi compiles the module, for 12.00 s</li>",
        "50 waiting",
        "1 core",
        "data-refresh=\"reload\"",
    ] {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
    let causes: Vec<_> = ["out of fuel", "exit code 9"].map(|text| page.find(text)).to_vec();
    assert!(causes.is_sorted(), "the most frequent cause comes first");
}

#[test]
fn an_ended_job_is_not_looked_at_again() {
    let mut log = Log::new();
    let job = log.submit("once", 1);
    log.end(job, 0, 1, success());
    let record = Arc::clone(&log.state.jobs[&job]);

    let facts = JobFacts { job: record, now_ms: log.now_ms, advice: Advice::default() };
    assert!(job_page::page(&facts).contains("data-refresh=\"never\""));
}

#[test]
fn a_page_of_very_many_jobs_is_small_and_quick() {
    let mut log = Log::new();
    for _ in 0..20_000 {
        let job = log.submit("ended", 1);
        log.end(job, 0, 1, success());
    }
    let active: Vec<JobId> = (0..10_000).map(|_| log.submit("active", 1_000)).collect();

    let started = Instant::now();
    let facts = log.facts();
    let page = status_page::page(&facts);
    let took = started.elapsed();

    assert_eq!(facts.rows.first(), active.last());
    assert!(page.contains("29,950 more"), "the rest is counted");
    assert!(page.len() < 100_000, "{} bytes", page.len());
    assert!(took.as_millis() < 100, "it took {took:?}");
}

#[test]
fn assets_are_found_by_the_names_that_pages_use() {
    let page = status_page::page(&Log::new().facts());
    let paths: Vec<&str> =
        page.split('"').filter_map(|text| text.strip_prefix("/assets/")).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    for name in paths {
        assert!(super::assets::find(name).is_some(), "{name}");
    }
    assert!(super::assets::find("weir.css").is_none());
}
