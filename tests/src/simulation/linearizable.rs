//! Whether a history of calls could have come from something that does one call at a time, each
//! between its beginning and its end: Wing and Gong's search, with Lowe's memory of what was tried.

use std::{collections::HashSet, fmt::Debug, hash::Hash};

/// A call: what was asked, and what was told.
#[derive(Debug, Clone)]
pub(super) struct Call<O> {
    pub(super) told: O,
    /// Its place among all beginnings and ends; each has a place of its own.
    pub(super) began: u64,
    /// Nothing if no answer came: then it happened at any time after it began, or not at all.
    pub(super) ended: Option<u64>,
}

/// What calls act on.
pub(super) trait Model: Clone + Eq + Hash + Default {
    type Told: Debug;

    /// What it is after a call; nothing if the call would have been told otherwise.
    fn after(&self, told: &Self::Told) -> Option<Self>;

    /// Whether a call that changes nothing now would not later either, whenever it could happen.
    fn only_looks(told: &Self::Told) -> bool;
}

/// Whether calls could have happened one at a time, from the beginning of the model on.
pub(super) fn is_linearizable<M: Model>(calls: &[Call<M::Told>]) -> bool {
    let mut calls: Vec<&Call<M::Told>> = calls.iter().collect();
    calls.sort_by_key(|call| call.began);
    let happened = vec![0; calls.len().div_ceil(64)];
    Search { calls, happened, tried: HashSet::new() }.goes_on(&M::default())
}

struct Search<'a, M: Model> {
    /// In the order in which they began.
    calls: Vec<&'a Call<M::Told>>,
    /// Those that have happened so far, a bit each.
    happened: Vec<u64>,
    /// What was reached before, and led nowhere.
    tried: HashSet<(Vec<u64>, M)>,
}

impl<M: Model> Search<'_, M> {
    /// Whether the rest of the calls can happen from here.
    fn goes_on(&mut self, model: &M) -> bool {
        let left = (0..self.calls.len()).filter(|at| self.happened[at / 64] >> (at % 64) & 1 == 0);
        let ends = left.clone().filter_map(|at| self.calls[at].ended);
        let Some(first_end) = ends.min() else { return true };
        if !self.tried.insert((self.happened.clone(), model.clone())) {
            return false;
        }
        // What began after another call's end cannot have happened before it.
        let may_be_next = left.filter(|at| self.calls[*at].began < first_end);
        let mut next: Vec<usize> = may_be_next.collect();
        // Most calls without an answer never happened.
        next.sort_by_key(|at| self.calls[*at].ended.is_none());
        let after = |at: usize| Some((at, model.after(&self.calls[at].told)?));
        let mut next: Vec<(usize, M)> = next.into_iter().filter_map(after).collect();
        // One without an answer that changes nothing need not happen now. One with an answer that
        // changes nothing, now or later, may as well happen now.
        let is_answered = |at: usize| self.calls[at].ended.is_some();
        next.retain(|(at, after)| is_answered(*at) || after != model);
        let looks = |(at, after): &(usize, M)| {
            is_answered(*at) && after == model && M::only_looks(&self.calls[*at].told)
        };
        if let Some(look) = next.iter().position(looks) {
            next = vec![next.swap_remove(look)];
        }
        next.into_iter().any(|(at, after)| {
            self.happened[at / 64] ^= 1 << (at % 64);
            let leads_on = self.goes_on(&after);
            self.happened[at / 64] ^= 1 << (at % 64);
            leads_on
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is written and read.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
    struct Register(u32);

    #[derive(Debug, Clone, Copy)]
    enum Told {
        Wrote(u32),
        Read(u32),
    }

    use Told::{Read, Wrote};

    impl Model for Register {
        type Told = Told;

        fn after(&self, told: &Told) -> Option<Register> {
            match told {
                Wrote(value) => Some(Register(*value)),
                Read(value) => (self.0 == *value).then(|| self.clone()),
            }
        }

        fn only_looks(told: &Told) -> bool {
            matches!(told, Read(_))
        }
    }

    fn holds(calls: &[(Told, u64, Option<u64>)]) -> bool {
        let call = |(told, began, ended): &(Told, u64, Option<u64>)| Call {
            told: *told,
            began: *began,
            ended: *ended,
        };
        is_linearizable::<Register>(&calls.iter().map(call).collect::<Vec<_>>())
    }

    #[test]
    fn a_read_sees_what_was_written_before_it_and_nothing_older() {
        let write = (Wrote(1), 1, Some(2));
        assert!(holds(&[write, (Read(1), 3, Some(4))]));
        assert!(!holds(&[write, (Read(0), 3, Some(4))]));
    }

    #[test]
    fn calls_at_the_same_time_happen_in_either_order() {
        let write = (Wrote(1), 1, Some(4));
        assert!(holds(&[write, (Read(0), 2, Some(3))]));
        assert!(holds(&[write, (Read(1), 2, Some(3))]));
        assert!(holds(&[write, (Read(1), 2, Some(6)), (Read(0), 3, Some(5))]));
    }

    #[test]
    fn what_one_read_has_seen_a_later_one_sees_too() {
        let write = (Wrote(1), 1, Some(8));
        assert!(!holds(&[write, (Read(1), 2, Some(3)), (Read(0), 4, Some(5))]));
    }

    #[test]
    fn a_write_without_an_answer_happened_late_or_never_but_once() {
        let write = (Wrote(1), 1, None);
        assert!(holds(&[write, (Read(0), 2, Some(3)), (Read(0), 6, Some(7))]));
        assert!(holds(&[write, (Read(0), 2, Some(3)), (Read(1), 6, Some(7))]));
        let other = (Wrote(2), 4, Some(5));
        let reads = [(Read(1), 2, Some(3)), (Read(2), 6, Some(7)), (Read(1), 8, Some(9))];
        assert!(!holds(&[write, other, reads[0], reads[1], reads[2]]));
        assert!(holds(&[write, other, reads[1], reads[2]]));
    }

    #[test]
    fn a_write_of_what_is_there_already_may_yet_have_happened_later() {
        let same = (Wrote(1), 3, Some(8));
        let calls = [(Wrote(1), 1, Some(2)), same, (Wrote(2), 4, Some(5)), (Read(1), 9, Some(10))];
        assert!(holds(&calls));
    }

    #[test]
    fn a_long_history_with_many_lost_answers_is_judged_quickly() {
        let mut calls: Vec<_> = (0..6).map(|value| (Wrote(100 + value), 1, None)).collect();
        for at in 1..30 {
            let (value, time) = (at as u32, at * 10);
            calls.push((Wrote(value), time, Some(time + 3)));
            calls.push((Read(value), time + 4, Some(time + 5)));
        }
        assert!(holds(&calls));
        calls.push((Read(1), 400, Some(401)));
        assert!(!holds(&calls));
    }
}
