//! A leader without a log: what is leased to whom, and that no task is lost or leased twice.

mod makespan;
mod metered;
mod moved;
mod once;
mod weights;

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_proto::{
    command::{Change, Command},
    id::{JobId, LeaseId, RequestId},
    lease::{LeaseMarks, PrepareStep, Preparing},
    outcome::{Outcome, Usage},
    page::{Page, TaskResult},
};

use super::*;
use crate::{
    apply::{Effect, apply},
    explain::{WaitReason, explain},
    lease::{AGENT_SILENCE_MS, COOL_DOWN_MS, REATTACH_WINDOW_MS},
    samples::{agent, spec, stage},
};

/// A leader without a log: commands are applied at once.
struct Leader {
    state: ClusterState,
    table: LeaseTable,
    now_ms: u64,
    index: u64,
}

impl Leader {
    fn new() -> Leader {
        let state = ClusterState::default();
        let table = LeaseTable::lead(&state, 1, 0);
        Leader { state, table, now_ms: 0, index: 0 }
    }

    fn apply(&mut self, change: Change) {
        self.index += 1;
        let command = Command { now_ms: self.now_ms, change };
        for effect in apply(&mut self.state, command, self.index).unwrap_or_default() {
            match effect {
                Effect::JobStarted(job) => {
                    self.table.add_stage(&self.state, StageId { job, stage: 0 });
                }
                Effect::Done { stage, tasks, .. } => {
                    self.table.done(stage, &tasks);
                }
                Effect::Retried { stage, tasks } => self.table.retry(stage, &tasks),
                Effect::JobEnded(job) => {
                    self.table.remove_stage(StageId { job, stage: 0 });
                }
                Effect::LeasesExtended(id) => {
                    let mark = self.state.stage(id).map_or(0, |(stage, _)| stage.leased_through);
                    self.table.extended(id, mark);
                }
                Effect::AgentGone(agent) => self.table.lose(agent),
                Effect::WeightChanged(namespace) => {
                    self.table.set_weight(&namespace, self.state.weight(&namespace));
                }
                Effect::Paused(job) => {
                    let stage = StageId { job, stage: 0 };
                    let paused = self.state.stage(stage).map(|(stage, _)| stage.paused.clone());
                    self.table.pause(stage, &paused.unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    fn submit(&mut self, count: u32, memory_mib: u64) -> StageId {
        self.submit_with(count, memory_mib, 0)
    }

    /// As `submit`; each task takes so many of what agents have few of.
    fn submit_with(&mut self, count: u32, memory_mib: u64, gpus: u32) -> StageId {
        let request = RequestId([self.index as u8 + 1; 16]);
        let mut spec = spec(count, memory_mib);
        spec.stages[0].resources.countables = [("gpu", gpus)].into_iter().collect();
        self.apply(Change::SubmitJob { request, spec });
        stage(self.state.last_job)
    }

    fn attach(&mut self, id: u64, cores: u32) {
        self.attach_with(id, cores, 0);
    }

    fn attach_with(&mut self, id: u64, cores: u32, gpus: u32) {
        let mut agent = agent(id, cores);
        agent.resources.countables = [("gpu", gpus)].into_iter().collect();
        self.apply(Change::RegisterAgent(agent.clone()));
        self.table.attach(&self.state, agent, 1, Vec::new(), self.now_ms);
    }

    fn place(&mut self) -> Vec<(AgentId, Lease)> {
        let placement = place(&self.state, &mut self.table, self.now_ms);
        for (stage, leased_through) in placement.extensions {
            self.apply(Change::ExtendLeases { stage, leased_through });
        }
        self.table.check_invariants(&self.state);
        placement.grants
    }

    /// Results of the first `tasks` open tasks of a lease.
    fn finish(&mut self, lease: LeaseId, tasks: usize) {
        let Some(held) = self.table.leases().get(&lease) else { return };
        let (agent, stage, open) = (held.agent, held.stage, held.open.clone());
        let usage = Usage { fuel: 1, peak_memory_bytes: 1, wall_us: 1000, ..Usage::default() };
        let result = TaskResult::without_output(Outcome::Succeeded { exit_code: 0 }, usage);
        for index in open.iter().take(tasks) {
            self.table.sent(agent, lease, TaskRange::single(index));
        }
        let pages = open
            .iter()
            .take(tasks)
            .map(|first| Page { stage, first, results: vec![result.clone()] }.encode());
        let pages = pages.collect();
        self.apply(Change::CommitPages { agent: AgentId(1), pages });
        self.table.measured(stage, 1000);
    }

    fn lose(&mut self, agent: AgentId) {
        let suspects = self.table.suspects(agent);
        self.apply(Change::AgentLost { agent, suspects });
    }
}

#[test]
fn an_agent_gets_as_many_slots_as_it_has_room_for() {
    let mut leader = Leader::new();
    leader.attach(1, 4);
    leader.submit(100, 300);
    let grants = leader.place();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].1.slots, 3);
    assert_eq!(leader.place(), []);
}

#[test]
fn countables_bound_the_slots_of_a_lease_and_go_only_where_they_are() {
    let mut leader = Leader::new();
    leader.attach(1, 8);
    leader.attach_with(2, 8, 5);
    leader.submit_with(100, 1, 2);
    let grants = leader.place();
    assert_eq!(grants.len(), 1);
    assert_eq!((grants[0].0, grants[0].1.slots), (AgentId(2), 2));
    let used = leader.table.used(AgentId(2));
    assert_eq!((used.cpu_millis, used.countables.count("gpu")), (2_000, 4));
    leader.submit_with(100, 1, 0);
    let slots: Vec<u32> = leader.place().iter().map(|(_, lease)| lease.slots).collect();
    assert_eq!(slots.iter().sum::<u32>(), 14, "what has no countable uses the cores that are left");
}

#[test]
fn nothing_is_leased_to_an_agent_that_is_too_small_or_gone() {
    let mut leader = Leader::new();
    leader.attach(1, 4);
    leader.submit(1, 2000);
    assert_eq!(leader.place(), []);
    leader.submit(1, 10);
    leader.table.detach(AgentId(1));
    assert_eq!(leader.place(), []);
}

#[test]
fn an_agent_that_drains_gets_nothing_more_until_it_is_to_go_on() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    leader.submit(100, 10);
    let id = leader.place()[0].1.id;
    let held = leader.table.leases()[&id].open.len() as usize;
    leader.apply(Change::DrainAgent { agent: AgentId(1), draining: true });
    leader.finish(id, held - 1);
    assert_eq!(leader.place(), [], "not even a top-up");
    leader.finish(id, 1);
    assert_eq!(leader.place(), []);
    leader.apply(Change::DrainAgent { agent: AgentId(1), draining: false });
    assert_eq!(leader.place().len(), 1);
}

#[test]
fn what_an_agent_that_leaves_had_is_leased_to_others_and_nobody_is_blamed() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let stage = leader.submit(3, 10);
    leader.place();
    leader.apply(Change::AgentLeft { agent: AgentId(1), abandoned: Vec::new() });
    assert!(leader.table.leases().is_empty());
    assert!(leader.state.jobs[&stage.job].stages[0].losses.is_empty());
    leader.attach(2, 1);
    assert_eq!(leader.place()[0].0, AgentId(2));
}

fn pause(job: StageId, tasks: RangeSet, paused: bool) -> Change {
    Change::PauseTasks { job: job.job, tasks, paused }
}

#[test]
fn a_lease_is_topped_up_before_it_runs_dry() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.submit(10_000, 10);
    let first = leader.place().remove(0).1;
    leader.finish(first.id, first.range.len() as usize - 1);
    let more = leader.place().remove(0).1;
    assert_eq!(more.id, first.id);
    assert!(more.range.len() > first.range.len(), "{} after {}", more.range, first.range);
}

#[test]
fn a_waiting_job_is_not_starved_by_one_that_keeps_its_lease() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.submit(10_000, 10);
    let first = leader.place().remove(0).1;
    let small = leader.submit(1, 10);
    leader.finish(first.id, first.range.len() as usize);
    let grants = leader.place();
    assert!(grants.iter().any(|(_, lease)| lease.stage == small), "{grants:?}");
}

#[test]
fn tasks_beyond_the_committed_mark_wait_for_it() {
    let mut leader = Leader::new();
    for id in 1..=9 {
        leader.attach(id, 200);
    }
    let big = leader.submit(5_000, 1);
    let mut leased = 0;
    for _ in 0..50 {
        let mark = leader.state.stage(big).expect("a stage").0.leased_through;
        for (_, lease) in leader.place() {
            assert!(lease.range.end <= mark, "{} beyond {mark}", lease.range);
            leased += lease.range.len();
        }
    }
    assert!(leased > 1024, "the mark was extended: {leased} are leased");
}

#[test]
fn a_suspect_is_leased_by_itself() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    leader.submit(10, 10);
    leader.place();
    leader.lose(AgentId(1));
    leader.attach(2, 4);
    let grants = leader.place();
    let suspect = grants.iter().find(|(_, lease)| lease.range.start == 0).expect("task 0");
    assert_eq!((suspect.1.range.len(), suspect.1.slots), (1, 1));
}

#[test]
fn a_task_without_marks_is_blamed_only_if_it_would_have_been_first() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let id = leader.submit(100, 10);
    leader.place();
    assert_eq!(leader.table.suspects(AgentId(1)), [id.task(0), id.task(1)]);
}

#[test]
fn a_new_leader_waits_for_known_agents_before_it_leases_again() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.attach(2, 2);
    let id = leader.submit(2_000, 10);
    leader.place();
    leader.table = LeaseTable::lead(&leader.state, 2, 0);
    leader.table.attach(&leader.state, agent(2, 2), 2, Vec::new(), 0);
    let beyond = leader.state.stage(id).expect("a stage").0.leased_through;
    assert!(leader.place().iter().all(|(_, lease)| lease.range.start >= beyond));
    leader.now_ms = REATTACH_WINDOW_MS;
    leader.table.settle(leader.now_ms);
    assert!(leader.place().iter().any(|(_, lease)| lease.range.start == 0));
}

#[test]
fn one_leader_after_the_other_lends_at_once_beyond_what_those_before_it_may_have_lent() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.attach(2, 2);
    let id = leader.submit(100_000, 10);
    for term in 2..22 {
        leader.place();
        let mark = leader.state.stage(id).expect("a stage").0.leased_through;
        leader.table = LeaseTable::lead(&leader.state, term, 0);
        leader.table.attach(&leader.state, agent(2, 2), term, Vec::new(), 0);
        // It extends the mark, and lends.
        leader.place();
        let grants = leader.place();
        assert!(!grants.is_empty(), "term {term}: nothing is left beyond {mark}");
        assert!(grants.iter().all(|(_, lease)| lease.range.start >= mark), "{grants:?}");
    }
}

#[test]
fn an_agent_that_returns_keeps_what_it_says_it_holds() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.submit(100, 10);
    let lease = leader.place().remove(0).1;
    leader.table = LeaseTable::lead(&leader.state, 2, 0);
    let open = [TaskRange::new(1, lease.range.end)].into_iter().collect();
    let marks = LeaseMarks {
        id: lease.id,
        stage: lease.stage,
        slots: lease.slots,
        open,
        started: vec![1],
        mean_task_us: 0,
        paused: RangeSet::new(),
        preparing: None,
    };
    leader.table.attach(&leader.state, agent(1, 2), 2, vec![marks], 0);
    leader.table.check_invariants(&leader.state);
    assert!(leader.table.leases()[&lease.id].open.contains(1));
    assert!(leader.table.stages()[&lease.stage].waiting.contains(0));
}

#[test]
fn what_an_agent_prepares_is_not_counted_as_running() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.submit(100, 10);
    let lease = leader.place().remove(0).1;
    let told = |preparing| LeaseMarks {
        paused: RangeSet::new(),
        id: lease.id,
        stage: lease.stage,
        slots: lease.slots,
        open: [lease.range].into_iter().collect(),
        started: vec![],
        mean_task_us: 0,
        preparing,
    };
    assert_eq!(leader.table.running(lease.stage), lease.slots);
    let compiles = Preparing { step: PrepareStep::Compile, for_ms: 700 };
    leader.table.heard(AgentId(1), &[told(Some(compiles))], 5_000);
    assert_eq!(leader.table.running(lease.stage), 0);
    let preparing: Vec<_> = leader.table.preparing(lease.stage).map(|h| h.preparing).collect();
    assert_eq!(preparing, [Some((PrepareStep::Compile, 4_300))]);
    leader.table.heard(AgentId(1), &[told(None)], 6_000);
    assert_eq!(leader.table.running(lease.stage), lease.slots);
    leader.table.check_invariants(&leader.state);
}

#[test]
fn a_silent_agent_is_noticed() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    assert_eq!(leader.table.silent(AGENT_SILENCE_MS - 1), []);
    assert_eq!(leader.table.silent(AGENT_SILENCE_MS), [AgentId(1)]);
}

#[test]
fn an_agent_is_not_silent_because_the_clock_jumped() {
    let mut leader = Leader::new();
    leader.now_ms = 1_000;
    leader.attach(1, 2);
    leader.table.clock_jumped(1_000, 900_000);
    assert_eq!(leader.table.silent(900_000), []);
    assert_eq!(leader.table.silent(900_000 + AGENT_SILENCE_MS), [AgentId(1)]);
    leader.table.clock_jumped(900_000, 2_000);
    assert_eq!(leader.table.silent(2_000), []);
}

#[test]
fn an_agent_that_lies_about_its_numbers_overflows_nothing() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.submit(100, 10);
    let lease = leader.place().remove(0).1;
    let marks = LeaseMarks {
        id: lease.id,
        stage: lease.stage,
        slots: u32::MAX,
        open: [TaskRange::new(0, u32::MAX)].into_iter().collect(),
        started: vec![u32::MAX - 1],
        mean_task_us: u64::MAX,
        paused: RangeSet::new(),
        preparing: None,
    };
    leader.table.attach(&leader.state, agent(1, 2), 2, vec![marks], 0);
    leader.table.measured(lease.stage, u64::MAX);
    leader.table.measured(lease.stage, u64::MAX);
    assert_eq!(leader.place(), []);
}

#[derive(Debug, Clone)]
enum Move {
    Submit(u32, u64, u32),
    Attach(u64, u32, u32),
    Detach(u64),
    Lose(u64),
    Finish(prop::sample::Index, usize),
    GiveBack(prop::sample::Index),
    Cancel(u64),
    Pause(u64, u32, bool),
    Drain(u64, bool),
    Elect,
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (1..3_000u32, 1..400u64, 0..3u32)
            .prop_map(|(count, mib, gpus)| Move::Submit(count, mib, gpus)),
        3 => (1..4u64, 1..5u32, 0..5u32)
            .prop_map(|(id, cores, gpus)| Move::Attach(id, cores, gpus)),
        1 => (1..4u64).prop_map(Move::Detach),
        1 => (1..4u64).prop_map(Move::Lose),
        9 => (any::<prop::sample::Index>(), 1..200usize)
            .prop_map(|(lease, tasks)| Move::Finish(lease, tasks)),
        2 => any::<prop::sample::Index>().prop_map(Move::GiveBack),
        1 => (1..6u64).prop_map(Move::Cancel),
        4 => (1..6u64, 1..300u32, any::<bool>())
            .prop_map(|(job, tasks, paused)| Move::Pause(job, tasks, paused)),
        1 => (1..4u64, any::<bool>()).prop_map(|(id, draining)| Move::Drain(id, draining)),
        1 => Just(Move::Elect),
        2 => (1..4_000u64).prop_map(Move::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_no_agent_is_overcommitted_and_no_task_is_lost(
        moves in prop::collection::vec(moves(), 1..60),
    ) {
        let mut leader = Leader::new();
        for one in moves {
            let leases: Vec<LeaseId> = leader.table.leases().keys().copied().collect();
            match one {
                Move::Submit(count, mib, gpus) => {
                    leader.submit_with(count, mib, gpus);
                }
                Move::Attach(id, cores, gpus) => leader.attach_with(id, cores, gpus),
                Move::Detach(id) => leader.table.detach(AgentId(id)),
                Move::Lose(id) => leader.lose(AgentId(id)),
                Move::Finish(lease, tasks) if !leases.is_empty() => {
                    leader.finish(*lease.get(&leases), tasks);
                }
                Move::GiveBack(lease) if !leases.is_empty() => {
                    let id = *lease.get(&leases);
                    let held = &leader.table.leases()[&id];
                    let (agent, range) = (held.agent, held.open.ranges()[0]);
                    leader.table.give_back(agent, id, range, Some(leader.now_ms + COOL_DOWN_MS));
                }
                Move::Finish(..) | Move::GiveBack(_) => {}
                Move::Cancel(job) => leader.apply(Change::CancelJob(JobId(job))),
                Move::Pause(job, tasks, paused) => {
                    leader.apply(pause(stage(job), RangeSet::below(tasks), paused));
                }
                Move::Drain(id, draining) => {
                    leader.apply(Change::DrainAgent { agent: AgentId(id), draining });
                }
                Move::Elect => {
                    let term = leader.index + 2;
                    leader.table = LeaseTable::lead(&leader.state, term, leader.now_ms);
                }
                Move::Wait(ms) => {
                    leader.now_ms += ms;
                    leader.table.settle(leader.now_ms);
                }
            }
            leader.state.check_invariants();
            leader.table.check_invariants(&leader.state);
            leader.place();
        }
        // Then the world is well, and everything ends.
        leader.now_ms += 100_000;
        leader.table.settle(leader.now_ms);
        leader.attach_with(9, 8, 4);
        for job in leader.state.active.clone() {
            leader.apply(pause(stage(job.0), RangeSet::new(), false));
        }
        let mut rounds = 0;
        while !leader.state.active.is_empty() {
            leader.place();
            let held: BTreeSet<LeaseId> = leader.table.leases().keys().copied().collect();
            for lease in held {
                leader.finish(lease, usize::MAX);
            }
            rounds += 1;
            prop_assert!(rounds < 20_000, "no progress: {:?}", leader.table.stages());
        }
    }
}

#[test]
fn a_cancelled_job_is_called_back_from_its_agents() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let stage = leader.submit(2, 1);
    let granted = leader.place()[0].1.id;
    assert_eq!(leader.table.done(stage, &RangeSet::below(2)), [(AgentId(1), granted)]);
}

#[test]
fn a_lease_whose_agent_sent_every_result_ends_without_a_word() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let stage = leader.submit(2, 1);
    let granted = leader.place()[0].1.id;
    leader.table.sent(AgentId(1), granted, TaskRange::new(0, 2));
    assert_eq!(leader.table.done(stage, &RangeSet::below(2)), []);
}

#[test]
fn a_task_done_elsewhere_takes_its_agent_until_its_own_result_comes() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let stage = leader.submit(2, 1);
    let granted = leader.place()[0].1.id;
    let cpu_millis = |leader: &Leader| leader.table.used(AgentId(1)).cpu_millis;
    assert_eq!(leader.table.done(stage, &RangeSet::below(1)), []);
    assert_eq!(cpu_millis(&leader), 2_000);
    leader.table.sent(AgentId(1), granted, TaskRange::single(0));
    assert_eq!(cpu_millis(&leader), 1_000);
}

#[test]
fn an_agent_that_gave_tasks_back_is_not_topped_up_with_them() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    leader.submit(100, 1);
    let Lease { id, range, .. } = leader.place()[0].1.clone();
    assert!(range.len() > 2);
    let until_ms = Some(leader.now_ms + COOL_DOWN_MS);
    leader.table.give_back(AgentId(1), id, TaskRange::new(1, range.end), until_ms);
    assert_eq!(leader.place(), []);
}

#[test]
fn a_higher_priority_goes_first_within_its_namespace() {
    let mut leader = Leader::new();
    let low = leader.submit(100, 300);
    let mut spec = spec(100, 300);
    spec.priority = 5;
    leader.apply(Change::SubmitJob { request: RequestId([77; 16]), spec: spec.clone() });
    let high = stage(leader.state.last_job);
    spec.namespace = "other".parse().expect("a namespace");
    spec.priority = -5;
    leader.apply(Change::SubmitJob { request: RequestId([78; 16]), spec });
    let other = stage(leader.state.last_job);
    leader.attach(1, 2);
    leader.attach(2, 2);
    let granted: Vec<StageId> = leader.place().into_iter().map(|(_, lease)| lease.stage).collect();
    assert!(granted.contains(&high) && granted.contains(&other), "{granted:?}");
    assert!(!granted.contains(&low), "{granted:?}");
}

#[test]
fn a_task_that_is_run_again_waits_again() {
    let mut leader = Leader::new();
    let mut spec = spec(2, 300);
    spec.stages[0].retries = 1;
    leader.apply(Change::SubmitJob { request: RequestId([9; 16]), spec });
    leader.attach(1, 4);
    let (_, lease) = leader.place().remove(0);
    let outcome = Outcome::Failed { exit_code: 1 };
    let result = TaskResult::without_output(outcome, Usage::default());
    let page = Page { stage: lease.stage, first: 0, results: vec![result] }.encode();
    leader.table.sent(AgentId(1), lease.id, TaskRange::single(0));
    leader.apply(Change::CommitPages { agent: AgentId(1), pages: vec![page] });
    leader.table.check_invariants(&leader.state);
    let granted = leader.place();
    assert_eq!(granted[0].1.range, TaskRange::single(0));
}
