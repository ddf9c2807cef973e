//! Commands one by one, and at random: what they change, and what must hold after each.

use proptest::prelude::*;
use weir_proto::{outcome::Usage, page::TaskResult};

use super::*;
use crate::{
    samples::{agent, spec, stage},
    snapshot,
};

/// A page whose tasks all exit with `exit_code`.
fn page(job: u64, first: u32, tasks: usize, exit_code: i32) -> Vec<u8> {
    let outcome = match exit_code {
        0 => Outcome::Succeeded { exit_code: 0 },
        exit_code => Outcome::Failed { exit_code },
    };
    let usage = Usage { fuel: 10, peak_memory_bytes: 5, wall_us: 1 };
    let results = vec![TaskResult::without_output(outcome, usage); tasks];
    Page { stage: stage(job), first, results }.encode()
}

struct Log {
    state: ClusterState,
    index: u64,
}

impl Log {
    fn new() -> Log {
        Log { state: ClusterState::default(), index: 0 }
    }

    fn apply(&mut self, change: Change) -> Result<Vec<Effect>, Rejection> {
        self.index += 1;
        let command = Command { now_ms: self.index * 10, change };
        let effects = apply(&mut self.state, command, self.index);
        self.state.check_invariants();
        effects
    }

    fn submit(&mut self, request: u8, count: u32) -> Result<Vec<Effect>, Rejection> {
        self.apply(Change::SubmitJob { request: RequestId([request; 16]), spec: spec(count, 1) })
    }

    fn pages(&mut self, pages: Vec<Vec<u8>>) -> Vec<Effect> {
        let change = Change::CommitPages { agent: AgentId(1), pages };
        self.apply(change).expect("pages are never refused")
    }

    fn stage(&self, job: u64) -> &Stage {
        self.state.stage(stage(job)).expect("a known stage").0
    }
}

#[test]
fn the_same_request_makes_one_job() {
    let mut log = Log::new();
    let first = log.submit(1, 3).expect("a job");
    assert!(first.contains(&Effect::JobStarted(JobId(1))));
    let again = log.submit(1, 3).expect("the same job");
    assert_eq!(again, [Effect::Submitted { request: RequestId([1; 16]), job: JobId(1) }]);
}

#[test]
fn the_first_result_of_a_task_stands() {
    let mut log = Log::new();
    log.submit(1, 10).expect("a job");
    log.pages(vec![page(1, 2, 4, 0)]);
    log.pages(vec![page(1, 0, 10, 7)]);
    let stage = log.stage(1);
    assert_eq!(stage.succeeded, 4);
    assert_eq!(stage.failed(), 6);
    assert_eq!(stage.pages[1].accepted.ranges(), [TaskRange::new(0, 2), TaskRange::new(6, 10)]);
    assert_eq!(stage.fuel, 100);
}

#[test]
fn a_repeated_page_leaves_no_trace() {
    let mut log = Log::new();
    log.submit(1, 10).expect("a job");
    log.pages(vec![page(1, 0, 5, 0)]);
    let effects = log.pages(vec![page(1, 0, 5, 0)]);
    assert_eq!(effects, []);
    assert_eq!(log.stage(1).pages.len(), 1);
}

#[test]
fn a_page_beyond_its_stage_or_of_no_job_is_ignored() {
    let mut log = Log::new();
    log.submit(1, 3).expect("a job");
    let effects = log.pages(vec![page(1, 2, 2, 0), page(9, 0, 1, 0), b"garbage".to_vec()]);
    assert_eq!(effects, []);
}

#[test]
fn a_job_ends_with_its_last_task() {
    let mut log = Log::new();
    log.submit(1, 3).expect("a job");
    log.pages(vec![page(1, 0, 2, 0)]);
    assert!(log.state.jobs[&JobId(1)].is_active());
    let effects = log.pages(vec![page(1, 2, 1, 0)]);
    assert!(effects.contains(&Effect::JobEnded(JobId(1))));
    assert_eq!(log.state.jobs[&JobId(1)].life, JobLife::Ended { at_ms: 30, cancelled: false });
}

#[test]
fn cancelling_gives_every_open_task_a_verdict() {
    let mut log = Log::new();
    log.submit(1, 10).expect("a job");
    log.pages(vec![page(1, 3, 2, 0)]);
    log.apply(Change::CancelJob(JobId(1))).expect("a known job");
    let verdicts: Vec<TaskRange> = log.stage(1).verdicts.iter().map(|v| v.range).collect();
    assert_eq!(verdicts, [TaskRange::new(0, 3), TaskRange::new(5, 10)]);
    assert_eq!(log.pages(vec![page(1, 0, 10, 0)]), []);
    assert_eq!(log.apply(Change::CancelJob(JobId(1))), Ok(Vec::new()));
}

#[test]
fn a_task_that_loses_three_agents_is_given_up() {
    let mut log = Log::new();
    log.submit(1, 2).expect("a job");
    log.apply(Change::RegisterAgent(agent(1, 2))).expect("an agent");
    let lost = Change::AgentLost { agent: AgentId(1), suspects: vec![stage(1).task(1)] };
    log.apply(lost.clone()).expect("a known agent");
    log.apply(lost.clone()).expect("a known agent");
    assert_eq!(log.stage(1).losses[&1], 2);
    log.apply(lost).expect("a known agent");
    let verdict = &log.stage(1).verdicts[0];
    assert_eq!(verdict.outcome, Outcome::AgentLostTooOften { losses: 3 });
    assert_eq!(verdict.range, TaskRange::single(1));
}

#[test]
fn a_namespace_has_a_bounded_backlog() {
    let mut log = Log::new();
    for job in 0..10u8 {
        log.submit(job, 10_000_000).expect("a job within the limit");
    }
    let refused = log.submit(100, 1).expect_err("a job above the limit");
    assert!(matches!(refused, Rejection::TooManyTasks { open: 100_000_000, more: 1, .. }));
    log.apply(Change::CancelJob(JobId(1))).expect("a known job");
    log.submit(100, 1).expect("room again");
}

#[test]
fn state_time_never_goes_back() {
    let mut state = ClusterState::default();
    for (index, now_ms) in [(1, 50), (2, 20)] {
        let change = Change::CancelJob(JobId(9));
        assert!(apply(&mut state, Command { now_ms, change }, index).is_err());
    }
    assert_eq!(state.now_ms, 50);
}

fn change() -> impl Strategy<Value = Change> {
    let job = 1..6u64;
    prop_oneof![
        3 => (any::<u8>(), 1..3000u32).prop_map(|(request, count)| Change::SubmitJob {
            request: RequestId([request; 16]),
            spec: spec(count, 1),
        }),
        6 => (job.clone(), 0..40u32, 1..60usize, 0..2i32).prop_map(|(job, first, tasks, code)| {
            Change::CommitPages {
                agent: AgentId(1),
                pages: vec![page(job, first, tasks, code), page(job, first + 7, tasks, code)],
            }
        }),
        1 => job.clone().prop_map(|job| Change::CancelJob(JobId(job))),
        1 => (1..4u64).prop_map(|id| Change::RegisterAgent(agent(id, 2))),
        3 => (1..4u64, job.clone(), 0..50u32).prop_map(|(id, job, index)| Change::AgentLost {
            agent: AgentId(id),
            suspects: vec![stage(job).task(index)],
        }),
        1 => (job, 0..5000u32).prop_map(|(job, leased_through)| Change::ExtendLeases {
            stage: stage(job),
            leased_through,
        }),
    ]
}

proptest! {
    #[test]
    fn random_commands_keep_the_invariants(changes in prop::collection::vec(change(), 1..60)) {
        let mut log = Log::new();
        for change in changes {
            let before = log.state.clone();
            if log.apply(change).is_err() {
                let (applied, now_ms) = (log.state.applied, log.state.now_ms);
                prop_assert_eq!(&log.state, &ClusterState { applied, now_ms, ..before });
            }
        }
        let bytes = snapshot::encode(&log.state);
        prop_assert_eq!(snapshot::decode(&bytes), Ok(log.state));
    }
}
