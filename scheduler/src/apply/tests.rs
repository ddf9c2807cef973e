//! Commands one by one, and at random: what they change, and what must hold after each.

mod once;

use proptest::prelude::*;
use weir_proto::{
    agent::AgentDescription,
    id::Incarnation,
    job::JobSpec,
    name::{Expected, SetName},
    outcome::{Cause, Usage},
    page::{Page, TaskResult},
};

use super::*;
use crate::{
    samples::{agent, spec, stage},
    snapshot,
    state::{JobLife, MAX_EVENTS},
};

/// A page whose tasks all exit with `exit_code`.
fn page(job: u64, first: u32, tasks: usize, exit_code: i32) -> Vec<u8> {
    let outcome = match exit_code {
        0 => Outcome::Succeeded { exit_code: 0 },
        exit_code => Outcome::Failed { exit_code },
    };
    let usage = Usage { fuel: 10, peak_memory_bytes: 5, wall_us: 1, ..Usage::default() };
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

/// The same job, of tasks that run at most once.
fn once(mut spec: JobSpec) -> JobSpec {
    spec.stages[0].once = true;
    spec
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
    assert_eq!(stage.succeeded(), 4);
    assert_eq!(stage.failed.len(), 6);
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
fn tasks_are_paused_until_they_have_results() {
    let mut log = Log::new();
    log.submit(1, 10).expect("a job");
    let pause = |tasks: RangeSet, paused| Change::PauseTasks { job: JobId(1), tasks, paused };
    log.pages(vec![page(1, 0, 2, 0)]);
    assert_eq!(log.apply(pause(RangeSet::new(), true)), Ok(vec![Effect::Paused(JobId(1))]));
    assert_eq!(log.stage(1).paused.ranges(), [TaskRange::new(2, 10)]);
    assert_eq!(log.apply(pause(RangeSet::below(9), true)), Ok(Vec::new()), "they are already");
    log.pages(vec![page(1, 2, 3, 0)]);
    log.apply(pause(RangeSet::below(9), false)).expect("an active job");
    assert_eq!(log.stage(1).paused.ranges(), [TaskRange::single(9)]);
    log.apply(Change::CancelJob(JobId(1))).expect("an active job");
    assert!(log.stage(1).paused.is_empty());
    assert_eq!(log.apply(pause(RangeSet::new(), true)), Err(Rejection::HasEnded(JobId(1))));
}

#[test]
fn only_an_agent_that_is_there_can_be_drained() {
    let mut log = Log::new();
    let drain = |draining| Change::DrainAgent { agent: AgentId(1), draining };
    assert_eq!(log.apply(drain(true)), Err(Rejection::UnknownAgent(AgentId(1))));
    log.apply(Change::RegisterAgent(agent(1, 2))).expect("an agent");
    let effect = Effect::AgentDrained { agent: AgentId(1), draining: true };
    assert_eq!(log.apply(drain(true)), Ok(vec![effect]));
    assert_eq!(log.apply(drain(true)), Ok(Vec::new()), "it does already");
    log.apply(Change::AgentLeft { agent: AgentId(1), abandoned: Vec::new() })
        .expect("a known agent");
    assert_eq!(log.apply(drain(true)), Err(Rejection::AgentGone(AgentId(1))));
}

#[test]
fn an_agent_drains_until_it_is_started_again() {
    let mut log = Log::new();
    log.apply(Change::RegisterAgent(agent(1, 2))).expect("an agent");
    log.apply(Change::DrainAgent { agent: AgentId(1), draining: true }).expect("a live agent");
    log.apply(Change::RegisterAgent(agent(1, 2))).expect("the same life");
    assert!(log.state.is_draining(AgentId(1)));
    let again = AgentDescription { incarnation: Incarnation(77), ..agent(1, 2) };
    log.apply(Change::RegisterAgent(again)).expect("another life");
    assert!(!log.state.is_draining(AgentId(1)));
}

#[test]
fn an_agent_that_is_measured_again_is_the_same_agent() {
    let mut log = Log::new();
    let calibrate = |fuel_per_second| Change::CalibrateAgent { agent: AgentId(1), fuel_per_second };
    assert_eq!(log.apply(calibrate(5)), Err(Rejection::UnknownAgent(AgentId(1))));
    log.apply(Change::RegisterAgent(agent(1, 2))).expect("an agent");
    log.apply(Change::DrainAgent { agent: AgentId(1), draining: true }).expect("a live agent");
    let (before, events) = (log.state.agents[&AgentId(1)].clone(), log.state.events.clone());
    let effect = Effect::AgentCalibrated { agent: AgentId(1), fuel_per_second: 5 };
    assert_eq!(log.apply(calibrate(5)), Ok(vec![effect]));
    let mut expected = before;
    expected.description.fuel_per_second = 5;
    assert_eq!(log.state.agents[&AgentId(1)], expected);
    assert!(log.state.events == events, "nobody joined");
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

fn with_retries(mut spec: JobSpec, retries: u32) -> JobSpec {
    spec.stages[0].retries = retries;
    spec
}

fn source(number: u8) -> InputSource {
    InputSource::Blob(Digest::of(&[number]))
}

fn set_name(name: u8, target: Option<InputSource>, expected: Expected) -> SetName {
    let name = format!("name-{name}").parse().expect("a name");
    SetName { namespace: Namespace::default_namespace(), name, target, expected }
}

#[test]
fn a_task_that_fails_runs_again_as_often_as_its_stage_says() {
    let mut log = Log::new();
    let spec = with_retries(spec(3, 1), 2);
    log.apply(Change::SubmitJob { request: RequestId([1; 16]), spec }).expect("a job");
    let tasks: RangeSet = [TaskRange::new(0, 3)].into_iter().collect();
    let again = [Effect::Retried { stage: stage(1), tasks }];
    assert_eq!(log.pages(vec![page(1, 0, 3, 9)]), again);
    assert_eq!(log.pages(vec![page(1, 0, 3, 9)]), again);
    log.pages(vec![page(1, 0, 1, 0)]);
    log.pages(vec![page(1, 0, 3, 9)]);
    let stage = log.stage(1);
    assert_eq!((stage.succeeded(), stage.failed.len(), stage.retried), (1, 2, 6));
    assert!(stage.attempts.is_empty());
    assert!(!log.state.jobs[&JobId(1)].is_active());
}

#[test]
fn failures_are_counted_by_cause() {
    let mut log = Log::new();
    log.submit(1, 200).expect("a job");
    for code in 1..=100 {
        log.pages(vec![page(1, code as u32, 1, code)]);
    }
    log.pages(vec![page(1, 101, 1, 1)]);
    log.apply(Change::CancelJob(JobId(1))).expect("a known job");
    let causes = &log.stage(1).causes;
    let count = |detail: &str| {
        let cause = Cause { kind: 2, detail: detail.to_owned() };
        causes.get(&cause).map(|count| (count.tasks, count.first))
    };
    assert_eq!(count("exit code 1"), Some((2, 1)));
    assert_eq!(count("other"), Some((36, 65)));
    assert_eq!(causes.last_key_value().map(|(cause, count)| (cause.word(), count.tasks)), {
        Some(("cancelled", 99))
    });
}

#[test]
fn a_retry_keeps_what_succeeded_and_runs_the_rest() {
    let mut log = Log::new();
    log.submit(1, 10).expect("a job");
    let retry = |request| Change::RetryJob { request: RequestId([request; 16]), job: JobId(1) };
    assert_eq!(log.apply(retry(2)), Err(Rejection::StillActive(JobId(1))));
    log.pages(vec![page(1, 0, 4, 0)]);
    log.pages(vec![page(1, 4, 6, 7)]);
    let effects = log.apply(retry(2)).expect("a new job");
    assert_eq!(log.apply(retry(2)), Ok(effects[..1].to_vec()));
    let stage = log.stage(2);
    assert_eq!(stage.open(10).ranges(), [TaskRange::new(4, 10)]);
    assert_eq!((stage.succeeded(), stage.fuel), (4, 0));
    log.pages(vec![page(2, 4, 6, 0)]);
    assert_eq!(log.stage(2).succeeded(), 10);
    let again = Change::RetryJob { request: RequestId([3; 16]), job: JobId(2) };
    assert_eq!(log.apply(again), Err(Rejection::NothingToRetry(JobId(2))));
}

#[test]
fn an_ended_job_can_be_removed() {
    let mut log = Log::new();
    log.submit(1, 1).expect("a job");
    let remove = Change::RemoveJob(JobId(1));
    assert_eq!(log.apply(remove.clone()), Err(Rejection::StillActive(JobId(1))));
    log.pages(vec![page(1, 0, 1, 0)]);
    assert_eq!(log.apply(remove.clone()), Ok(vec![Effect::JobForgotten(JobId(1))]));
    assert_eq!(log.apply(remove), Err(Rejection::UnknownJob(JobId(1))));
}

#[test]
fn a_name_moves_only_from_where_it_is_expected() {
    let mut log = Log::new();
    let set = |target, expected| Change::SetName(set_name(1, target, expected));
    let (old, new) = (source(1), source(2));
    log.apply(set(Some(old), Expected::Absent)).expect("a new name");
    log.apply(set(Some(old), Expected::Absent)).expect("asked twice");
    let refused = log.apply(set(Some(new), Expected::Absent)).expect_err("it is there");
    assert!(refused.to_string().contains("points at blake3:"), "{refused}");
    log.apply(set(Some(new), Expected::PointsAt(old))).expect("as expected");
    log.apply(set(None, Expected::PointsAt(old))).expect_err("it moved");
    log.apply(set(None, Expected::Anything)).expect("it is there");
    let refused = log.apply(set(None, Expected::Anything)).expect_err("it is gone");
    assert!(matches!(refused, Rejection::UnknownName { .. }));
}

#[test]
fn the_newest_events_are_kept_in_order() {
    let mut log = Log::new();
    for number in 0..MAX_EVENTS + 10 {
        let target = Some(source(number as u8));
        log.apply(Change::SetName(set_name(1, target, Expected::Anything))).expect("a name");
    }
    assert_eq!(log.state.events.len(), MAX_EVENTS);
    assert_eq!(log.state.events.last().map(|event| event.position.index), Some(log.index));
}

fn change() -> impl Strategy<Value = Change> {
    let job = 1..6u64;
    prop_oneof![
        3 => (any::<u8>(), 1..3000u32, 0..4u32).prop_map(|(request, count, retries)| {
            let spec = match retries {
                3 => once(spec(count, 1)),
                retries => with_retries(spec(count, 1), retries),
            };
            Change::SubmitJob { request: RequestId([request; 16]), spec }
        }),
        4 => (1..9u64, 1..4u64, 0..40u32, 1..6u32).prop_map(|(seq, agent, start, len)| {
            once::grant(seq, agent, start, start + len)
        }),
        2 => (1..9u64, 1..40u32).prop_map(|(seq, below)| Change::ReturnOnce {
            lease: LeaseId { term: 1, seq },
            stage: stage(1),
            tasks: RangeSet::below(below),
        }),
        6 => (job.clone(), 0..40u32, 1..60usize, 0..2i32).prop_map(|(job, first, tasks, code)| {
            Change::CommitPages {
                agent: AgentId(1),
                pages: vec![page(job, first, tasks, code), page(job, first + 7, tasks, code)],
            }
        }),
        1 => job.clone().prop_map(|job| Change::CancelJob(JobId(job))),
        1 => (any::<u8>(), job.clone()).prop_map(|(request, job)| Change::RetryJob {
            request: RequestId([request; 16]),
            job: JobId(job),
        }),
        1 => job.clone().prop_map(|job| Change::RemoveJob(JobId(job))),
        1 => (0..3u8, any::<bool>(), 0..3u8).prop_map(|(name, keep, expected)| {
            let expected = match expected {
                0 => Expected::Anything,
                1 => Expected::Absent,
                _ => Expected::PointsAt(source(0)),
            };
            Change::SetName(set_name(name, keep.then(|| source(name % 2)), expected))
        }),
        2 => (1..4u64, 1..3u64).prop_map(|(id, life)| Change::RegisterAgent(AgentDescription {
            incarnation: Incarnation(life),
            ..agent(id, 2)
        })),
        3 => (1..4u64, job.clone(), 0..50u32).prop_map(|(id, job, index)| Change::AgentLost {
            agent: AgentId(id),
            suspects: vec![stage(job).task(index)],
        }),
        2 => (job.clone(), 0..60u32, 1..20u32, any::<bool>()).prop_map(|(job, first, len, paused)| {
            let tasks = RangeSet::from_iter([TaskRange::new(first, first + len)]);
            Change::PauseTasks { job: JobId(job), tasks, paused }
        }),
        1 => (1..4u64).prop_map(|id| Change::AgentLeft {
            agent: AgentId(id),
            abandoned: vec![(LeaseId { term: 1, seq: 2 }, RangeSet::below(20))],
        }),
        1 => (1..4u64, any::<bool>()).prop_map(|(id, draining)| Change::DrainAgent {
            agent: AgentId(id),
            draining,
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
