//! Namespaces share by their weights, over agents and over time.

use weir_proto::weight::Weight;

use super::*;

fn submit(leader: &mut Leader, namespace: &str, count: u32) -> StageId {
    let mut spec = spec(count, 1);
    spec.namespace = namespace.parse().expect("a namespace");
    let mut request = [7; 16];
    request[..8].copy_from_slice(&leader.index.to_le_bytes());
    leader.apply(Change::SubmitJob { request: RequestId(request), spec });
    stage(leader.state.last_job)
}

fn weigh(leader: &mut Leader, namespace: &str, weight: u32) {
    let namespace = namespace.parse().expect("a namespace");
    let weight = Weight::try_from(weight).expect("a weight");
    leader.apply(Change::SetWeight { namespace, weight });
    leader.table.check_invariants(&leader.state);
}

/// The time that stages have had, in slots, while each lease takes `lease_ms` and nobody runs dry.
fn shares(leader: &mut Leader, rounds: u64, lease_ms: u64, stages: &[StageId]) -> Vec<u64> {
    let mut shares = vec![0; stages.len()];
    for _ in 0..rounds {
        leader.place();
        for (share, stage) in shares.iter_mut().zip(stages) {
            *share += u64::from(leader.table.slots(*stage));
        }
        leader.now_ms += lease_ms;
        leader.table.pass_time(leader.now_ms);
        // The oldest lease ends in each round: agents do not end together.
        let oldest = leader.table.leases().keys().next().copied();
        leader.finish(oldest.expect("somebody runs"), usize::MAX);
    }
    shares
}

fn assert_share(shares: &[u64], of: usize, percent: u64) {
    let is = shares[of] * 100 / shares.iter().sum::<u64>();
    assert!(is.abs_diff(percent) <= 4, "{is} % instead of {percent} %: {shares:?}");
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
fn few_cores_are_lent_in_proportion_over_time() {
    for cores in [1, 2, 3, 5] {
        for (weight, percent) in [(3, 75), (1, 50), (19, 95)] {
            let mut leader = Leader::new();
            (1..=cores).for_each(|id| leader.attach(id, 1));
            weigh(&mut leader, "heavy", weight);
            let light = submit(&mut leader, "light", 1_000_000);
            let heavy = submit(&mut leader, "heavy", 1_000_000);
            let shares = shares(&mut leader, 600, 150, &[light, heavy]);
            assert_share(&shares, 1, percent);
        }
    }
}

#[test]
fn who_comes_late_neither_catches_up_nor_waits() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let early = submit(&mut leader, "early", 1_000_000);
    shares(&mut leader, 100, 1_000, &[early]);
    let late = submit(&mut leader, "late", 1_000_000);
    let both = shares(&mut leader, 100, 1_000, &[early, late]);
    assert_share(&both, 1, 50);
}

#[test]
fn who_stood_still_does_not_starve_those_that_worked() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let still = submit(&mut leader, "still", 1_000_000);
    leader.apply(pause(still, RangeSet::new(), true));
    let working = submit(&mut leader, "working", 1_000_000);
    shares(&mut leader, 100, 1_000, &[working]);
    leader.apply(pause(still, RangeSet::new(), false));
    let both = shares(&mut leader, 100, 1_000, &[still, working]);
    assert_share(&both, 0, 50);
}

#[test]
fn leaving_and_coming_back_pays_nothing() {
    let mut leader = Leader::new();
    leader.attach(1, 1);
    let steady = submit(&mut leader, "steady", 1_000_000);
    let (mut gone_ms, mut steady_ms) = (0, 0);
    for _ in 0..100 {
        // Its name comes first, and its one long task is all that it ever has.
        let restless = submit(&mut leader, "aaa", 1);
        while leader.table.stages().contains_key(&restless) {
            leader.place();
            let runs = leader.table.slots(restless) > 0;
            let ran_ms = if runs { 10_000 } else { 200 };
            if runs {
                gone_ms += ran_ms;
            } else {
                steady_ms += ran_ms;
            }
            leader.now_ms += ran_ms;
            leader.table.pass_time(leader.now_ms);
            let oldest = leader.table.leases().keys().next().copied();
            leader.finish(oldest.expect("somebody runs"), usize::MAX);
        }
    }
    assert_share(&[gone_ms, steady_ms], 0, 50);
    assert!(leader.table.stages().contains_key(&steady));
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
