//! Shares in counted fuel: no clock, no threads.

use proptest::prelude::*;

use super::*;

const QUANTUM: u64 = 1_000_000;

fn path(groups: &[(&str, u32)]) -> Vec<Group> {
    let group = |(name, weight): &(&str, u32)| Group { name: (*name).to_owned(), weight: *weight };
    groups.iter().map(group).collect()
}

/// Slots that always have work, and what each has used.
struct Spinners {
    tree: FairTree<usize>,
    slots: Vec<NodeId>,
    used: Vec<u64>,
}

impl Spinners {
    fn new() -> Spinners {
        Spinners { tree: FairTree::new(), slots: Vec::new(), used: Vec::new() }
    }

    fn add(&mut self, path: &[Group], count: usize) -> std::ops::Range<usize> {
        let first = self.slots.len();
        for number in first..first + count {
            let slot = self.tree.enter(path);
            assert_eq!(self.tree.push(slot, number), Ok(()));
            self.slots.push(slot);
            self.used.push(0);
        }
        first..first + count
    }

    /// Runs so many quanta on so many workers, each of which ends before any begins its next.
    fn run(&mut self, quanta: usize, workers: usize) {
        let mut done = 0;
        while done < quanta {
            let round: Vec<_> = (0..workers).map_while(|_| self.tree.pop()).collect();
            assert!(!round.is_empty(), "there is always work");
            for (slot, number) in round {
                self.tree.charge(slot, QUANTUM);
                self.used[number] += QUANTUM;
                assert_eq!(self.tree.push(slot, number), Ok(()));
                done += 1;
            }
        }
    }

    fn used(&self, slots: std::ops::Range<usize>) -> f64 {
        self.used[slots].iter().sum::<u64>() as f64
    }
}

proptest! {
    #[test]
    fn namespaces_share_by_weight_however_many_tasks_each_has(
        few in 1..60usize, many in 1..300usize, heavy_first in any::<bool>(),
    ) {
        // (workers, most that the share may be off)
        for (workers, off) in [(1, 0.02), (2, 0.05)] {
            let mut spinners = Spinners::new();
            // With fewer tasks than its share of the workers nobody can use it.
            let (first, second) = if heavy_first { (few.max(2), many) } else { (many.max(2), few) };
            let heavy = spinners.add(&path(&[("a", 3), ("job-1", 1)]), first);
            let light = spinners.add(&path(&[("b", 1), ("job-2", 1)]), second);
            spinners.run(2_000, workers);
            let (heavy, light) = (spinners.used(heavy), spinners.used(light));
            let share = heavy / (heavy + light);
            prop_assert!((share - 0.75).abs() <= 0.75 * off, "{share} on {workers}");
        }
    }

    #[test]
    fn every_slot_of_any_tree_gets_its_share(
        groups in prop::collection::vec(
            (0..3usize, 1..9u32, 0..3usize, 1..9u32, 1..4usize), 1..8,
        ),
    ) {
        // The first of a name decides its weight.
        let mut weights: HashMap<Vec<usize>, u32> = HashMap::new();
        let mut spinners = Spinners::new();
        let mut added = Vec::new();
        for (outer, outer_weight, inner, inner_weight, slots) in groups {
            let outer_weight = *weights.entry(vec![outer]).or_insert(outer_weight);
            let inner_weight = *weights.entry(vec![outer, inner]).or_insert(inner_weight);
            let names = (format!("ns-{outer}"), format!("job-{inner}"));
            let path = path(&[(&names.0, outer_weight), (&names.1, inner_weight)]);
            added.push((outer, inner, spinners.add(&path, slots)));
        }
        let outers: u32 = weights.iter().filter(|(k, _)| k.len() == 1).map(|(_, w)| w).sum();
        let quanta = 4_000;
        spinners.run(quanta, 1);
        let total = quanta as f64 * QUANTUM as f64;
        let mut slots_in: HashMap<(usize, usize), usize> = HashMap::new();
        for (outer, inner, slots) in &added {
            *slots_in.entry((*outer, *inner)).or_default() += slots.len();
        }
        for (outer, inner, slots) in added {
            let inners = weights.iter().filter(|(k, _)| k.len() == 2 && k[0] == outer);
            let inners: u32 = inners.map(|(_, weight)| weight).sum();
            let share = f64::from(weights[&vec![outer]]) / f64::from(outers)
                * f64::from(weights[&vec![outer, inner]]) / f64::from(inners)
                / slots_in[&(outer, inner)] as f64;
            for slot in slots {
                let (used, ideal) = (spinners.used[slot] as f64, total * share);
                // A quantum at each level, and one for who is in the middle of one.
                prop_assert!((used - ideal).abs() <= 4.0 * QUANTUM as f64, "{used} of {ideal}");
            }
        }
    }

    #[test]
    fn work_comes_out_once_and_all_of_it(
        steps in prop::collection::vec((0..5u8, 0..4usize, 0..3usize), 1..200),
    ) {
        let mut tree = FairTree::new();
        let (mut slots, mut waiting) = (Vec::new(), Vec::new());
        let place = |group: usize| path(&[(["a", "b", "c", "d"][group], 1 + group as u32)]);
        for (step, group, pick) in steps {
            match step {
                0 | 1 => {
                    slots.push(tree.enter(&place(group)));
                }
                2 if !slots.is_empty() => {
                    let slot = slots[pick % slots.len()];
                    prop_assert_eq!(tree.push(slot, slot), Ok(()));
                    waiting.retain(|other| *other != slot);
                    waiting.push(slot);
                }
                3 if !slots.is_empty() => {
                    let slot = slots.remove(pick % slots.len());
                    let there = waiting.contains(&slot);
                    prop_assert_eq!(tree.leave(slot), there.then_some(slot));
                    prop_assert_eq!(tree.push(slot, slot), Err(slot));
                    waiting.retain(|other| *other != slot);
                }
                _ => match tree.pop() {
                    Some((slot, work)) => {
                        prop_assert_eq!(slot, work);
                        let at = waiting.iter().position(|other| *other == slot);
                        waiting.remove(at.expect("it was given work"));
                        tree.charge(slot, pick as u64 * QUANTUM);
                    }
                    None => prop_assert!(waiting.is_empty()),
                },
            }
        }
        for slot in slots {
            tree.leave(slot);
        }
        prop_assert_eq!(tree.nodes.len(), 1);
    }
}

#[test]
fn a_short_task_among_many_long_ones_of_another_namespace_ends_soon() {
    let mut spinners = Spinners::new();
    spinners.add(&path(&[("others", 1), ("job-1", 1)]), 200);
    spinners.run(5_000, 1);
    let short = spinners.add(&path(&[("own", 1), ("job-2", 1)]), 1);
    let mut quanta = 0;
    while spinners.used(short.clone()) < 10.0 * QUANTUM as f64 {
        spinners.run(1, 1);
        quanta += 1;
    }
    assert!(quanta <= 2 * 10 + 20, "{quanta} quanta");
}

#[test]
fn who_was_away_or_comes_late_neither_starves_nor_hoards() {
    let mut spinners = Spinners::new();
    let there = spinners.add(&path(&[("a", 1)]), 3);
    spinners.run(10_000, 1);
    let late = spinners.add(&path(&[("b", 1)]), 3);
    let before = spinners.used(there.clone());
    spinners.run(100, 1);
    let more = (spinners.used(there) - before) / QUANTUM as f64;
    assert!((more - 50.0).abs() <= 1.0, "{more} of 100 quanta");
    assert!((spinners.used(late) / QUANTUM as f64 - 50.0).abs() <= 1.0);
}

#[test]
fn a_weight_that_changes_counts_from_then_on() {
    let mut spinners = Spinners::new();
    let first = spinners.add(&path(&[("a", 1)]), 1);
    spinners.add(&path(&[("b", 1)]), 1);
    spinners.run(100, 1);
    let before = spinners.used(first.clone());
    spinners.add(&path(&[("a", 3)]), 1);
    spinners.run(400, 1);
    let more = (spinners.used(first.start..first.end) + spinners.used(2..3) - before) / 1e6;
    assert!((more - 300.0).abs() <= 4.0, "{more} of 400 quanta");
}

#[test]
fn a_held_slot_is_passed_over_until_it_is_released() {
    let mut tree = FairTree::new();
    let (held, other) = (tree.enter(&path(&[("a", 1)])), tree.enter(&path(&[("b", 1)])));
    for (slot, number) in [(held, 1), (other, 2)] {
        assert_eq!(tree.push(slot, number), Ok(()));
    }
    tree.hold(held);
    assert_eq!(tree.pop(), Some((other, 2)));
    assert_eq!(tree.pop(), None);
    tree.release(held);
    assert_eq!(tree.pop(), Some((held, 1)));
    // What comes while it is held waits too.
    tree.hold(held);
    assert_eq!(tree.push(held, 3), Ok(()));
    assert_eq!(tree.pop(), None);
    tree.release(held);
    assert_eq!(tree.pop(), Some((held, 3)));
    tree.hold(held);
    tree.release(held);
    assert_eq!(tree.pop(), None, "it has no work");
}

#[test]
fn who_leaves_and_comes_back_gets_no_more_than_who_stays() {
    let own = path(&[("b", 1)]);
    // Against another group, and against a slot of the same.
    for other in [path(&[("a", 1)]), own.clone()] {
        let mut tree = FairTree::new();
        let stays = tree.enter(&other);
        assert_eq!(tree.push(stays, 0), Ok(()));
        let mut used = [0_u32, 0];
        let mut comes = tree.enter(&own);
        assert_eq!(tree.push(comes, 1), Ok(()));
        for _ in 0..1_000 {
            let (slot, who) = tree.pop().expect("both always have work");
            tree.charge(slot, QUANTUM);
            used[who] += 1;
            if who == 1 {
                tree.leave(comes);
                comes = tree.enter(&own);
                assert_eq!(tree.push(comes, 1), Ok(()));
            } else {
                assert_eq!(tree.push(stays, 0), Ok(()));
            }
        }
        assert!(used[0].abs_diff(used[1]) <= 4, "{used:?}");
    }
}
