//! Half-open ranges of task indexes, and sets of them.
//!
//! A stage may have millions of tasks, of which what is done, leased or waiting is a few ranges.

use std::fmt;

use crate::{malformed::Malformed, wire};

/// The tasks `start..end` of one stage; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskRange {
    /// The first task.
    pub start: u32,
    /// The task after the last; above `start`.
    pub end: u32,
}

impl TaskRange {
    /// The range `start..end`.
    ///
    /// # Panics
    /// When it would be empty.
    pub fn new(start: u32, end: u32) -> TaskRange {
        assert!(start < end, "a range of tasks is not empty: {start}..{end}");
        TaskRange { start, end }
    }

    /// The range of one task.
    pub fn single(index: u32) -> TaskRange {
        TaskRange { start: index, end: index + 1 }
    }

    /// How many tasks it has; at least 1.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> u32 {
        self.end - self.start
    }

    /// The tasks in both.
    pub fn intersection(&self, other: TaskRange) -> Option<TaskRange> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(TaskRange { start, end })
    }
}

impl fmt::Display for TaskRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl From<TaskRange> for wire::Range {
    fn from(range: TaskRange) -> wire::Range {
        wire::Range { start: range.start, end: range.end }
    }
}

impl TryFrom<wire::Range> for TaskRange {
    type Error = Malformed;

    fn try_from(wire: wire::Range) -> Result<TaskRange, Malformed> {
        if wire.start >= wire.end {
            let why = format!("{}..{} is empty", wire.start, wire.end);
            return Err(Malformed::invalid("range of tasks", why));
        }
        Ok(TaskRange { start: wire.start, end: wire.end })
    }
}

/// A set of task indexes, kept as few sorted ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<TaskRange>,
    len: u32,
}

impl RangeSet {
    /// The set of no task.
    pub fn new() -> RangeSet {
        RangeSet::default()
    }

    /// The set of all tasks below `count`.
    pub fn below(count: u32) -> RangeSet {
        let mut set = RangeSet::new();
        if count > 0 {
            set.insert(TaskRange::new(0, count));
        }
        set
    }

    /// How many tasks are in it.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no task is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Its ranges, ascending.
    pub fn ranges(&self) -> &[TaskRange] {
        &self.ranges
    }

    /// Its tasks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|range| range.start..range.end)
    }

    /// Its lowest task.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|range| range.start)
    }

    /// Whether a task is in it.
    pub fn contains(&self, index: u32) -> bool {
        let after = self.ranges.partition_point(|range| range.end <= index);
        self.ranges.get(after).is_some_and(|range| range.start <= index)
    }

    /// Adds tasks; those already there stay.
    pub fn insert(&mut self, new: TaskRange) {
        let from = self.ranges.partition_point(|range| range.end < new.start);
        let to = self.ranges.partition_point(|range| range.start <= new.end);
        let mut merged = new;
        for old in &self.ranges[from..to] {
            merged.start = merged.start.min(old.start);
            merged.end = merged.end.max(old.end);
            self.len -= old.len();
        }
        self.len += merged.len();
        self.ranges.splice(from..to, [merged]);
    }

    /// Takes tasks out; those not there are no matter.
    pub fn remove(&mut self, gone: TaskRange) {
        let from = self.ranges.partition_point(|range| range.end <= gone.start);
        let to = self.ranges.partition_point(|range| range.start < gone.end);
        if from >= to {
            return;
        }
        let (first, last) = (self.ranges[from], self.ranges[to - 1]);
        for old in &self.ranges[from..to] {
            self.len -= old.len();
        }
        let left = (first.start < gone.start).then(|| TaskRange::new(first.start, gone.start));
        let right = (gone.end < last.end).then(|| TaskRange::new(gone.end, last.end));
        self.len += left.map_or(0, |range| range.len()) + right.map_or(0, |range| range.len());
        self.ranges.splice(from..to, left.into_iter().chain(right));
    }

    /// Adds every task of another set.
    pub fn insert_all(&mut self, other: &RangeSet) {
        for range in &other.ranges {
            self.insert(*range);
        }
    }

    /// Takes every task of another set out.
    pub fn remove_all(&mut self, other: &RangeSet) {
        for range in &other.ranges {
            self.remove(*range);
        }
    }

    /// The tasks of this set that lie in a range.
    pub fn within(&self, bounds: TaskRange) -> RangeSet {
        let from = self.ranges.partition_point(|range| range.end <= bounds.start);
        let mut set = RangeSet::new();
        for range in &self.ranges[from..] {
            let Some(part) = range.intersection(bounds) else { break };
            set.insert(part);
        }
        set
    }

    /// Takes the first range out, but at most `most` tasks of it.
    pub fn take_first(&mut self, most: u32) -> Option<TaskRange> {
        let first = *self.ranges.first()?;
        if most == 0 {
            return None;
        }
        let taken = TaskRange::new(first.start, first.start + first.len().min(most));
        self.remove(taken);
        Some(taken)
    }

    /// What is in both.
    pub fn intersection(&self, other: &RangeSet) -> RangeSet {
        self.ranges.iter().flat_map(|range| other.within(*range).ranges).collect()
    }

    /// The last tasks, at most so many.
    pub fn last(&self, most: u32) -> RangeSet {
        let mut left = most;
        let mut last = Vec::new();
        for range in self.ranges.iter().rev() {
            let taken = range.len().min(left);
            if taken == 0 {
                break;
            }
            last.push(TaskRange::new(range.end - taken, range.end));
            left -= taken;
        }
        last.into_iter().rev().collect()
    }

    /// The set as the wire carries it.
    pub fn to_wire(&self) -> Vec<wire::Range> {
        self.ranges.iter().map(|range| (*range).into()).collect()
    }

    /// Reads a set from the wire, in any order, overlapping or not.
    ///
    /// # Errors
    /// `Invalid` when a range is empty.
    pub fn from_wire(ranges: &[wire::Range]) -> Result<RangeSet, Malformed> {
        let ranges = ranges.iter().map(|range| TaskRange::try_from(*range));
        let mut ranges: Vec<TaskRange> = ranges.collect::<Result<_, _>>()?;
        // In order, each insertion is at the end: a hostile list costs no more than sorting it.
        ranges.sort_unstable();
        Ok(ranges.into_iter().collect())
    }
}

impl FromIterator<TaskRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = TaskRange>>(ranges: I) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Insert(u32, u32),
        Remove(u32, u32),
        Take(u32),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..60u32, 1..12u32).prop_map(|(start, len)| Change::Insert(start, start + len)),
            (0..60u32, 1..12u32).prop_map(|(start, len)| Change::Remove(start, start + len)),
            (1..9u32).prop_map(Change::Take),
        ]
    }

    proptest! {
        #[test]
        fn a_range_set_behaves_like_a_set_of_numbers(
            changes in prop::collection::vec(change(), 0..40),
            bounds in (0..60u32, 1..20u32),
        ) {
            let mut ranges = RangeSet::new();
            let mut numbers = BTreeSet::new();
            for change in changes {
                match change {
                    Change::Insert(start, end) => {
                        ranges.insert(TaskRange::new(start, end));
                        numbers.extend(start..end);
                    }
                    Change::Remove(start, end) => {
                        ranges.remove(TaskRange::new(start, end));
                        numbers.retain(|n| !(start..end).contains(n));
                    }
                    Change::Take(most) => {
                        if let Some(taken) = ranges.take_first(most) {
                            prop_assert_eq!(numbers.first(), Some(&taken.start));
                            for n in taken.start..taken.end {
                                prop_assert!(numbers.remove(&n));
                            }
                        }
                    }
                }
                prop_assert!(ranges.iter().eq(numbers.iter().copied()));
                prop_assert_eq!(ranges.len() as usize, numbers.len());
                prop_assert!(ranges.ranges().windows(2).all(|w| w[0].end < w[1].start));
                prop_assert!((0..80).all(|n| ranges.contains(n) == numbers.contains(&n)));
            }
            let bounds = TaskRange::new(bounds.0, bounds.0 + bounds.1);
            let within: Vec<u32> = ranges.within(bounds).iter().collect();
            let expected: Vec<u32> = numbers.range(bounds.start..bounds.end).copied().collect();
            prop_assert_eq!(&within, &expected);
            let both = ranges.intersection(&[bounds].into_iter().collect());
            prop_assert!(both.iter().eq(expected));
            let most = bounds.end - bounds.start;
            let last = numbers.iter().rev().take(most as usize).rev().copied();
            prop_assert!(ranges.last(most).iter().eq(last));
        }
    }
}
