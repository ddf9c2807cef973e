//! Namespaces share by their weights, over agents and over time.

use weir_proto::weight::Weight;

use super::*;

fn submit(leader: &mut Leader, namespace: &str, count: u32) -> StageId {
    let mut spec = spec(count, 1);
    spec.namespace = namespace.parse().expect("a namespace");
    leader.apply(Change::SubmitJob { request: RequestId([leader.index as u8 + 1; 16]), spec });
    stage(leader.state.last_job)
}

fn weigh(leader: &mut Leader, namespace: &str, weight: u32) {
    let namespace = namespace.parse().expect("a namespace");
    let weight = Weight::try_from(weight).expect("a weight");
    leader.apply(Change::SetWeight { namespace, weight });
    leader.table.check_invariants(&leader.state);
}

/// What of so many leases, one at a time, goes to which stage.
fn shares(leader: &mut Leader, leases: usize, stages: &[StageId]) -> Vec<usize> {
    let mut shares = vec![0; stages.len()];
    for _ in 0..leases {
        let lease = leader.place().remove(0).1;
        let at = stages.iter().position(|stage| *stage == lease.stage).expect("one of these");
        shares[at] += 1;
        leader.finish(lease.id, lease.range.len() as usize);
    }
    shares
}

#[test]
fn agents_are_lent_in_proportion() {
    let mut leader = Leader::new();
    (1..=12).for_each(|id| leader.attach(id, 1));
    weigh(&mut leader, "heavy", 3);
    let stages = [submit(&mut leader, "light", 1_000), submit(&mut leader, "heavy", 1_000)];
    leader.place();
    let slots = stages.map(|stage| leader.table.slots(stage));
    assert_eq!(slots, [3, 9]);
}

#[test]
fn one_core_is_lent_in_proportion_over_time() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    weigh(&mut leader, "heavy", 3);
    let stages = [submit(&mut leader, "light", 9_000), submit(&mut leader, "heavy", 9_000)];
    let shares = shares(&mut leader, 40, &stages);
    // The first leases are of tasks whose length nobody knows yet.
    assert!((9..=11).contains(&shares[0]), "{shares:?} of 40 leases");
}

#[test]
fn who_comes_late_neither_catches_up_nor_waits() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let early = submit(&mut leader, "early", 9_000);
    shares(&mut leader, 30, &[early]);
    let late = submit(&mut leader, "late", 9_000);
    let shares = shares(&mut leader, 20, &[early, late]);
    assert!((8..=12).contains(&shares[1]), "{shares:?} of 20 leases");
}

#[test]
fn leases_tell_agents_the_weight() {
    let mut leader = Leader::new();
    leader.attach(1, 4);
    submit(&mut leader, "plain", 2);
    submit(&mut leader, "heavy", 2);
    weigh(&mut leader, "heavy", 7);
    let weights = |leader: &mut Leader| -> Vec<(String, Vec<u32>)> {
        let leases = leader.place().into_iter();
        leases.map(|(_, lease)| (lease.namespace.to_string(), lease.weights)).collect()
    };
    let mut told = weights(&mut leader);
    told.sort();
    assert_eq!(told, [("heavy".to_owned(), vec![7]), ("plain".to_owned(), Vec::new())]);
    // A weight of 1 is none.
    weigh(&mut leader, "heavy", 1);
    assert!(leader.state.weights.is_empty());
}
