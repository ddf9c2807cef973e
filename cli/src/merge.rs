//! Merges what running tasks write live with what is committed about them, so that every byte is
//! told once and none is missing. Pure: bytes in, bytes out; [`crate::output`] writes them.
//!
//! Live chunks may be lost, repeated or late. A chunk is told only where it continues what was told
//! before; the committed output then gives the rest, from where the telling stopped.

use std::{collections::HashMap, ops::Range};

use weir_sdk::proto::range::{RangeSet, TaskRange};

/// Longest unfinished line that is kept for a task; the rest of it comes from the committed output.
pub(crate) const MAX_PARTIAL_BYTES: usize = 16 << 10;
/// Most tasks whose live output is followed at once; that of others comes when it is committed.
pub(crate) const MAX_LIVE_TASKS: usize = 4096;

/// One of a task's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stream {
    /// The results.
    Stdout,
    /// The remarks.
    Stderr,
}

/// Whether bytes are told as they come or by whole lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grain {
    /// As they come: there is only one task.
    Bytes,
    /// By whole lines, because lines of other tasks come between.
    Lines,
}

/// What of the streams of a job's tasks has been told.
#[derive(Debug)]
pub(crate) struct Merge {
    grain: Grain,
    told: HashMap<(u32, Stream), Told>,
    done: RangeSet,
}

/// A stream of a task that runs.
#[derive(Debug, Default)]
struct Told {
    /// How many of its bytes have been told.
    bytes: u64,
    /// What follows them and is not a whole line yet.
    partial: Vec<u8>,
}

impl Merge {
    /// Nothing told yet.
    pub(crate) fn new(grain: Grain) -> Merge {
        Merge { grain, told: HashMap::new(), done: RangeSet::new() }
    }

    /// Takes a live chunk; what is to be told now.
    pub(crate) fn live(&mut self, task: u32, stream: Stream, offset: u64, data: &[u8]) -> Vec<u8> {
        let known = self.told.contains_key(&(task, stream));
        if self.done.contains(task) || !known && self.told.len() >= 2 * MAX_LIVE_TASKS {
            return Vec::new();
        }
        let told = self.told.entry((task, stream)).or_default();
        let next = told.bytes + told.partial.len() as u64;
        let Some(new) = after(data, offset, next) else { return Vec::new() };
        told.partial.extend_from_slice(new);
        let whole = match self.grain {
            Grain::Bytes => told.partial.len(),
            Grain::Lines => told.partial.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
        };
        let rest = told.partial.split_off(whole);
        let now = std::mem::replace(&mut told.partial, rest);
        told.bytes += now.len() as u64;
        if told.partial.len() > MAX_PARTIAL_BYTES {
            told.partial = Vec::new();
        }
        now
    }

    /// A task's output is committed with so many bytes; which of them are still to be told. No live
    /// chunk of this stream may be taken afterwards: call `finish` once both streams are told.
    pub(crate) fn committed(&mut self, task: u32, stream: Stream, size_bytes: u64) -> Range<u64> {
        let told = self.told.remove(&(task, stream)).map_or(0, |told| told.bytes);
        told.min(size_bytes)..size_bytes
    }

    /// These tasks have ended: live chunks of them are late.
    pub(crate) fn finish(&mut self, tasks: TaskRange) {
        self.done.insert(tasks);
        if self.told.keys().any(|(task, _)| self.done.contains(*task)) {
            self.told.retain(|(task, _), _| !self.done.contains(*task));
        }
    }
}

/// The part of `data`, which begins at `offset`, from `next` on; none if it does not reach there.
fn after(data: &[u8], offset: u64, next: u64) -> Option<&[u8]> {
    let skip = usize::try_from(next.checked_sub(offset)?).ok()?;
    data.get(skip..).filter(|new| !new.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUT: Stream = Stream::Stdout;

    fn whole(merge: &mut Merge, task: u32, output: &[u8]) -> Vec<u8> {
        let rest = merge.committed(task, OUT, output.len() as u64);
        merge.finish(TaskRange::single(task));
        output[rest.start as usize..rest.end as usize].to_vec()
    }

    #[test]
    fn bytes_that_were_told_live_are_not_told_again() {
        let mut merge = Merge::new(Grain::Bytes);
        assert_eq!(merge.live(0, OUT, 0, b"hello "), b"hello ");
        assert_eq!(merge.live(0, OUT, 0, b"hello wo"), b"wo");
        assert_eq!(whole(&mut merge, 0, b"hello world"), b"rld");
        assert_eq!(merge.live(0, OUT, 8, b"rld"), b"", "late");
    }

    #[test]
    fn a_gap_is_filled_by_the_committed_output() {
        let mut merge = Merge::new(Grain::Bytes);
        assert_eq!(merge.live(0, OUT, 0, b"ab"), b"ab");
        assert_eq!(merge.live(0, OUT, 4, b"ef"), b"");
        assert_eq!(whole(&mut merge, 0, b"abcdef"), b"cdef");
    }

    #[test]
    fn lines_of_an_array_are_told_whole() {
        let mut merge = Merge::new(Grain::Lines);
        assert_eq!(merge.live(7, OUT, 0, b"one\ntw"), b"one\n");
        assert_eq!(merge.live(7, OUT, 6, b"o\nthree"), b"two\n");
        assert_eq!(whole(&mut merge, 7, b"one\ntwo\nthree"), b"three");
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut merge = Merge::new(Grain::Lines);
        let long = vec![b'x'; MAX_PARTIAL_BYTES + 1];
        assert_eq!(merge.live(0, OUT, 0, &long), b"");
        assert_eq!(merge.live(0, OUT, long.len() as u64, b"\n"), b"");
        let output = [&long[..], b"\n"].concat();
        assert_eq!(whole(&mut merge, 0, &output), output);
    }

    #[test]
    fn streams_and_tasks_do_not_mix() {
        let mut merge = Merge::new(Grain::Bytes);
        assert_eq!(merge.live(0, OUT, 0, b"a"), b"a");
        assert_eq!(merge.live(0, Stream::Stderr, 0, b"b"), b"b");
        assert_eq!(merge.live(1, OUT, 0, b"c"), b"c");
        assert_eq!(merge.committed(0, Stream::Stderr, 3), 1..3);
    }

    proptest! {
        #[test]
        fn live_and_committed_output_together_are_the_output(
            output in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), any::<u8>()], 0..80),
            chunks in prop::collection::vec((0..90usize, 0..30usize), 0..20),
            lines in any::<bool>(),
        ) {
            let mut merge = Merge::new(if lines { Grain::Lines } else { Grain::Bytes });
            let mut told = Vec::new();
            for (start, len) in chunks {
                let start = start.min(output.len());
                let end = (start + len).min(output.len());
                let now = merge.live(0, OUT, start as u64, &output[start..end]);
                prop_assert!(!lines || now.is_empty() || now.ends_with(b"\n"));
                told.extend(now);
                prop_assert!(output.starts_with(&told));
            }
            told.extend(whole(&mut merge, 0, &output));
            prop_assert_eq!(told, output);
        }
    }
}
