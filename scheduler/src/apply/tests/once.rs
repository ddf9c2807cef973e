//! Tasks that run at most once: granted to one life of one agent, and ended with it.

use super::*;

const LEASE: LeaseId = LeaseId { term: 1, seq: 1 };

/// Twenty such tasks, and two agents.
fn log() -> Log {
    let mut log = Log::new();
    let request = RequestId([1; 16]);
    log.apply(Change::SubmitJob { request, spec: once(spec(20, 1)) }).expect("a job");
    for id in 1..=2 {
        log.apply(Change::RegisterAgent(agent(id, 2))).expect("an agent");
    }
    log
}

pub(super) fn grant(seq: u64, agent: u64, start: u32, end: u32) -> Change {
    Change::GrantOnce {
        lease: LeaseId { term: 1, seq },
        stage: stage(1),
        range: TaskRange::new(start, end),
        agent: AgentId(agent),
        incarnation: Incarnation(1),
        connection: 1,
    }
}

fn lost(log: &Log) -> Vec<TaskRange> {
    let verdicts = log.stage(1).verdicts.iter();
    verdicts
        .map(|verdict| {
            assert_eq!(verdict.outcome, Outcome::AgentLostTooOften { losses: 1 });
            verdict.range
        })
        .collect()
}

#[test]
fn a_task_is_granted_to_one_agent_at_a_time() {
    let mut log = log();
    log.apply(grant(1, 1, 0, 4)).expect("they are free");
    for refused in [grant(2, 2, 3, 6), grant(1, 1, 8, 9), grant(2, 9, 8, 9), grant(2, 1, 18, 22)] {
        let why = log.apply(refused).expect_err("it is not to be granted");
        assert!(matches!(why, Rejection::NotGranted { .. }));
    }
    log.apply(grant(2, 2, 4, 6)).expect("they are free");
    log.pages(vec![page(1, 2, 1, 0)]);
    log.apply(grant(3, 1, 2, 3)).expect_err("it has a result");
    assert_eq!(log.stage(1).granted[&LEASE].tasks.len(), 3);
}

#[test]
fn only_a_lease_gives_back_what_it_has() {
    let mut log = log();
    log.apply(grant(1, 1, 0, 4)).expect("they are free");
    let give_back =
        |seq, tasks| Change::ReturnOnce { lease: LeaseId { term: 1, seq }, stage: stage(1), tasks };
    let effects = log.apply(give_back(1, RangeSet::below(2))).expect("a known lease");
    let tasks = RangeSet::below(2);
    assert_eq!(effects, [Effect::OnceReturned { stage: stage(1), tasks }]);
    log.apply(grant(2, 2, 0, 2)).expect("they are free again");
    // The same once more, and late.
    let effects = log.apply(give_back(1, RangeSet::below(2))).expect("a known lease");
    assert_eq!(effects, [Effect::OnceReturned { stage: stage(1), tasks: RangeSet::new() }]);
    assert_eq!(log.stage(1).granted[&LeaseId { term: 1, seq: 2 }].tasks.len(), 2);
    log.apply(give_back(7, RangeSet::below(2))).expect_err("there is no such lease");
}

#[test]
fn what_an_agent_had_ends_with_its_life() {
    let ends: [fn(&mut Log); 2] = [
        |log| drop(log.apply(Change::AgentLost { agent: AgentId(1), suspects: Vec::new() })),
        |log| {
            let again = AgentDescription { incarnation: Incarnation(2), ..agent(1, 2) };
            drop(log.apply(Change::RegisterAgent(again)));
        },
    ];
    for end in ends {
        let mut log = log();
        log.apply(grant(1, 1, 0, 4)).expect("they are free");
        log.apply(grant(2, 2, 4, 8)).expect("they are free");
        log.pages(vec![page(1, 1, 1, 0)]);
        end(&mut log);
        assert_eq!(lost(&log), [TaskRange::single(0), TaskRange::new(2, 4)]);
        log.apply(grant(3, 1, 8, 9)).expect_err("that life is over");
        assert_eq!(log.stage(1).granted.len(), 1, "another's go on");
    }
}

#[test]
fn what_had_not_begun_where_an_agent_leaves_is_free() {
    let mut log = log();
    log.apply(grant(1, 1, 0, 4)).expect("they are free");
    log.apply(grant(2, 1, 4, 8)).expect("they are free");
    let abandoned = vec![(LEASE, [TaskRange::single(2)].into_iter().collect())];
    let effects = log.apply(Change::AgentLeft { agent: AgentId(1), abandoned });
    let effects = effects.expect("an agent");
    assert_eq!(lost(&log), [TaskRange::single(2)]);
    let mut free = RangeSet::below(8);
    free.remove(TaskRange::single(2));
    let [.., Effect::AgentGone(_), Effect::OnceReturned { tasks, .. }] = &effects[..] else {
        panic!("they are taken from the agent before they wait: {effects:?}")
    };
    assert_eq!(*tasks, free);
}

#[test]
fn a_page_that_comes_before_its_agent_is_lost_counts() {
    let mut log = log();
    log.apply(grant(1, 1, 0, 20)).expect("they are free");
    log.pages(vec![page(1, 0, 20, 0)]);
    let lost_now = Change::AgentLost { agent: AgentId(1), suspects: vec![stage(1).task(3)] };
    log.apply(lost_now).expect("an agent");
    assert_eq!(lost(&log), []);
    assert!(!log.state.jobs[&JobId(1)].is_active());
}

#[test]
fn a_life_that_goes_on_keeps_what_it_has() {
    let mut log = log();
    log.apply(grant(1, 1, 0, 4)).expect("they are free");
    log.apply(Change::RegisterAgent(agent(1, 2))).expect("an agent");
    assert_eq!(lost(&log), []);
    assert_eq!(log.stage(1).granted.len(), 1);
}
