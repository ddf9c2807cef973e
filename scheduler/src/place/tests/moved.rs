//! What is lent and then stands still, goes on, or is recalled.

use super::*;

#[test]
fn a_paused_job_gives_its_cores_to_others_and_goes_on_when_one_is_free() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    let first = leader.submit(2, 300);
    let id = leader.place()[0].1.id;
    leader.apply(pause(first, RangeSet::new(), true));
    let used = leader.table.used(AgentId(1));
    assert_eq!((used.cpu_millis, used.memory_bytes), (0, 600 << 20), "the memory stays");

    let second = leader.submit(1, 300);
    let other = leader.place();
    assert_eq!((other[0].1.stage, other[0].1.slots), (second, 1));

    leader.apply(pause(first, RangeSet::new(), false));
    let placement = place(&leader.state, &mut leader.table, leader.now_ms);
    let still = RangeSet::from_iter([TaskRange::single(1)]);
    assert_eq!(placement.resumed, [(AgentId(1), id, still)], "there is one core");
    leader.submit(1, 10);
    assert_eq!(leader.place(), [], "who stands still goes first");
    leader.finish(other[0].1.id, 1);
    let placement = place(&leader.state, &mut leader.table, leader.now_ms);
    assert_eq!(placement.resumed, [(AgentId(1), id, RangeSet::new())]);
    leader.table.check_invariants(&leader.state);
}

#[test]
fn what_waits_at_a_busy_agent_is_recalled_for_one_that_has_nothing_to_do() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let stage = leader.submit(4, 10);
    leader.place();
    leader.place();
    let held: Vec<LeaseId> = leader.table.leases().keys().copied().collect();
    let [id] = held[..] else { panic!("{held:?}") };
    let all = leader.table.leases()[&id].open.clone();
    assert!(all.len() > 1, "{all:?}");
    leader.attach(2, 1);
    // Whatever the leader has itself goes first.
    leader.place();
    let of_second = |leader: &Leader| {
        let mut leases = leader.table.leases_of(AgentId(2));
        leases.next().map(|(id, _)| id)
    };
    while let Some(second) = of_second(&leader) {
        leader.finish(second, usize::MAX);
        leader.place();
    }

    let recalled = |leader: &mut Leader| {
        let placement = place(&leader.state, &mut leader.table, leader.now_ms);
        leader.table.check_invariants(&leader.state);
        placement.recalled
    };
    leader.table.measured(stage, 10_000);
    assert_eq!(recalled(&mut leader), [], "it will be done soon");
    (0..50).for_each(|_| leader.table.measured(stage, 60_000_000));
    let [(AgentId(1), lease, tasks)] = &recalled(&mut leader)[..] else { panic!("none") };
    assert_eq!((*lease, tasks), (id, &all.last((all.len() - 1).div_ceil(2))));
    assert_eq!(recalled(&mut leader), [], "it has been asked");
    leader.table.give_back(AgentId(1), id, tasks.ranges()[0], None);
    let grants = leader.place();
    assert_eq!(grants[0].0, AgentId(2));
}

#[test]
fn paused_tasks_that_wait_are_not_leased() {
    let mut leader = Leader::new();
    let stage = leader.submit(10, 10);
    leader.apply(pause(stage, RangeSet::below(9), true));
    leader.attach(1, 4);
    let grants = leader.place();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].1.range, TaskRange::single(9));
    assert_eq!(explain(&leader.state, &leader.table, stage), Some(WaitReason::Paused));
    leader.apply(pause(stage, RangeSet::new(), false));
    let granted: u32 = leader.place().iter().map(|(_, lease)| lease.range.len()).sum();
    assert!(granted > 0);
}

#[test]
fn a_new_leader_counts_what_stands_still_as_its_agent_tells_it() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let stage = leader.submit(1, 10);
    let lease = leader.place()[0].1.clone();
    leader.apply(pause(stage, RangeSet::new(), true));
    leader.apply(pause(stage, RangeSet::new(), false));
    // Its message that the task goes on was lost.
    let mut table = LeaseTable::lead(&leader.state, 2, 0);
    let marks = LeaseMarks {
        preparing: None,
        id: lease.id,
        stage,
        slots: 1,
        open: RangeSet::below(1),
        started: vec![0],
        mean_task_us: 0,
        paused: RangeSet::below(1),
    };
    table.attach(&leader.state, agent(1, 1), 2, vec![marks], 0);
    table.check_invariants(&leader.state);
    assert_eq!(table.used(AgentId(1)).cpu_millis, 0);
    assert_eq!(table.paused_on(AgentId(1)).len(), 1);
    let placement = place(&leader.state, &mut table, 0);
    assert_eq!(placement.resumed, [(AgentId(1), lease.id, RangeSet::new())]);
    assert_eq!(table.used(AgentId(1)).cpu_millis, 1000);
}
