//! Leases of tasks that run at most once: proposed, committed, sent; and back only when committed.

use weir_proto::id::Incarnation;

use super::*;

fn submit(leader: &mut Leader, count: u32) -> StageId {
    let mut spec = spec(count, 10);
    spec.stages[0].once = true;
    leader.apply(Change::SubmitJob { request: RequestId([9; 16]), spec });
    stage(leader.state.last_job)
}

/// Commits a lease, and returns whether it is to be sent.
fn commit(leader: &mut Leader, agent: AgentId, lease: &Lease) -> bool {
    leader.apply(Change::GrantOnce {
        lease: lease.id,
        stage: lease.stage,
        range: lease.range,
        agent,
        incarnation: Incarnation(1),
        connection: 1,
    });
    let (stage, _) = leader.state.stage(lease.stage).expect("a stage");
    let accepted = stage.granted.contains_key(&lease.id);
    let tasks = [lease.range].into_iter().collect();
    accepted && leader.table.committed_once(lease.stage, lease.id, &tasks)
}

fn waiting(leader: &Leader, id: StageId) -> u32 {
    leader.table.stages()[&id].waiting.len()
}

#[test]
fn a_lease_holds_what_runs_and_no_more_until_tasks_are_known_to_be_short() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let id = submit(&mut leader, 1_000);
    let grants = leader.place();
    assert_eq!(grants.len(), 1, "no lease is topped up");
    assert_eq!((grants[0].1.range.len(), grants[0].1.slots), (2, 2));
    assert!(commit(&mut leader, grants[0].0, &grants[0].1));
    leader.finish(grants[0].1.id, 2);
    let next = leader.place().remove(0).1;
    assert_eq!((next.range.len(), next.slots), (32, 2), "tasks of a millisecond wait there");
    leader.table.measured(id, u64::MAX / 8);
    leader.finish(next.id, 32);
    leader.table.measured(id, u64::MAX / 8);
    assert_eq!(leader.place().remove(0).1.range.len(), 2, "long ones do not");
}

#[test]
fn what_was_never_sent_waits_again_at_once() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let id = submit(&mut leader, 4);
    let (agent, lease) = leader.place().remove(0);
    leader.table.give_back(agent, lease.id, lease.range, None);
    assert_eq!(waiting(&leader, id), 4);
    assert!(leader.table.take_unheld().is_empty());
}

#[test]
fn what_an_agent_gives_back_waits_once_that_is_committed() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let id = submit(&mut leader, 4);
    let (agent, lease) = leader.place().remove(0);
    assert!(commit(&mut leader, agent, &lease));
    leader.table.give_back(agent, lease.id, TaskRange::single(1), None);
    assert_eq!(waiting(&leader, id), 2);
    leader.table.check_invariants(&leader.state);
    let unheld = leader.table.take_unheld();
    let tasks = unheld[&(id, lease.id)].clone();
    assert_eq!(tasks.ranges(), [TaskRange::single(1)]);
    leader.apply(Change::ReturnOnce { lease: lease.id, stage: id, tasks: tasks.clone() });
    leader.table.returned_once(id, &tasks);
    assert_eq!(waiting(&leader, id), 3);
    leader.table.check_invariants(&leader.state);
}

#[test]
fn what_a_new_leader_finds_granted_stays_there_until_its_agent_tells() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let id = submit(&mut leader, 6);
    let (agent_id, lease) = leader.place().remove(0);
    assert!(commit(&mut leader, agent_id, &lease));
    leader.table = LeaseTable::lead(&leader.state, 2, 0);
    assert_eq!(waiting(&leader, id), 4, "only what is granted is uncertain");
    leader.table.settle(10 * REATTACH_WINDOW_MS);
    assert_eq!(waiting(&leader, id), 4, "however long it takes");
    // It comes, and never got the message.
    leader.table.attach(&leader.state, agent(1, 2), 2, Vec::new(), 0);
    let unheld = leader.table.take_unheld();
    assert_eq!(unheld[&(id, lease.id)].len(), 2);
    assert_eq!(waiting(&leader, id), 4);
    leader.table.check_invariants(&leader.state);
}

#[test]
fn a_lease_that_is_committed_when_nobody_wants_it_any_more_goes_back() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let id = submit(&mut leader, 2);
    let (agent_id, lease) = leader.place().remove(0);
    // The agent came back after the leader had given it up.
    leader.table.lose(agent_id);
    leader.table.attach(&leader.state, agent(1, 2), 2, Vec::new(), 0);
    assert_eq!(waiting(&leader, id), 2);
    assert!(!commit(&mut leader, agent_id, &lease));
    assert_eq!(waiting(&leader, id), 0);
    assert_eq!(leader.table.take_unheld()[&(id, lease.id)].len(), 2);
    leader.table.check_invariants(&leader.state);
}

#[test]
fn a_lease_that_is_not_committed_yet_outlives_a_broken_connection() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    submit(&mut leader, 2);
    let (agent_id, lease) = leader.place().remove(0);
    leader.table.detach(agent_id);
    leader.table.attach(&leader.state, agent(1, 2), 2, Vec::new(), 0);
    assert!(commit(&mut leader, agent_id, &lease));
    assert!(leader.table.take_unheld().is_empty());
}
