//! A page: the results of a range of one stage's tasks, in columns on the wire.
//!
//! An encoded page is named by its digest and never changes; which of its results count is decided
//! where it is applied (`weir-scheduler`), because the first result of a task stands.

use prost::Message;

use crate::{
    digest::Digest,
    id::{JobId, StageId},
    malformed::Malformed,
    outcome::{Outcome, Usage},
    range::TaskRange,
    wire,
};

/// Most tasks in a page.
pub const MAX_PAGE_TASKS: usize = 16_384;
/// Most bytes of an encoded page: it rides in a log entry.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// Most bytes of an output that rides in its page; a larger one becomes a blob.
pub const MAX_INLINE_BYTES: usize = 4096;

/// Results of consecutive tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The stage whose tasks they are.
    pub stage: StageId,
    /// The index of the first.
    pub first: u32,
    /// One for each task; 1 to `MAX_PAGE_TASKS`.
    pub results: Vec<TaskResult>,
}

/// What an attempt left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it wrote to stdout.
    pub stdout: Output,
    /// What it wrote to stderr.
    pub stderr: Output,
    /// What it left in `/out`, where the stage keeps that.
    pub out: Option<OutTree>,
    /// Its memory and call stack when it trapped, where the stage asks for that and it can be had.
    pub coredump: Option<StoredBlob>,
}

/// Bytes in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Their name.
    pub digest: Digest,
    /// How many.
    pub size_bytes: u64,
}

/// Bytes a guest wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// At most `MAX_INLINE_BYTES`, here.
    Inline(Vec<u8>),
    /// In the store.
    Blob {
        /// Their name.
        digest: Digest,
        /// How many.
        size_bytes: u64,
    },
}

/// The tree a guest left in `/out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutTree {
    /// The tree's name.
    pub digest: Digest,
    /// Bytes of all files beneath it.
    pub size_bytes: u64,
}

impl Output {
    /// No bytes.
    pub fn empty() -> Output {
        Output::Inline(Vec::new())
    }

    /// How many bytes there are.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Output::Inline(bytes) => bytes.len() as u64,
            Output::Blob { size_bytes, .. } => *size_bytes,
        }
    }
}

impl TaskResult {
    /// A result of a task that never ran, or left nothing.
    pub fn without_output(outcome: Outcome, usage: Usage) -> TaskResult {
        TaskResult {
            outcome,
            usage,
            stdout: Output::empty(),
            stderr: Output::empty(),
            out: None,
            coredump: None,
        }
    }

    /// About how many bytes it takes in a page.
    pub fn encoded_size_hint(&self) -> usize {
        let inline = |output: &Output| match output {
            Output::Inline(bytes) => bytes.len() + 2,
            Output::Blob { .. } => 48,
        };
        let text = match &self.outcome {
            Outcome::Succeeded { exit_code: 0 } => 0,
            Outcome::Trapped(trap) => {
                trap.message.len() + trap.frames.iter().map(|f| f.len() + 2).sum::<usize>() + 32
            }
            Outcome::CompileLimit { reason } | Outcome::InvalidModule { reason } => {
                reason.len() + 8
            }
            _ => 40,
        };
        let trees = [self.out.is_some(), self.coredump.is_some()];
        let trees = 48 * trees.into_iter().filter(|there| *there).count();
        40 + inline(&self.stdout) + inline(&self.stderr) + text + trees
    }
}

impl Page {
    /// The tasks it covers.
    pub fn range(&self) -> TaskRange {
        TaskRange::new(self.first, self.first + self.results.len() as u32)
    }

    /// The result of a task, if the page covers it.
    pub fn result(&self, index: u32) -> Option<&TaskResult> {
        index.checked_sub(self.first).and_then(|offset| self.results.get(offset as usize))
    }

    /// The page's bytes; their digest is its name.
    pub fn encode(&self) -> Vec<u8> {
        let mut outcomes = Vec::new();
        let (mut out, mut coredumps) = (Vec::new(), Vec::new());
        for (offset, result) in (0u32..).zip(&self.results) {
            if result.outcome != (Outcome::Succeeded { exit_code: 0 }) {
                let outcome = Some(result.outcome.clone().into());
                outcomes.push(wire::OutcomeAt { offset, outcome });
            }
            if let Some(OutTree { digest, size_bytes }) = result.out {
                out.push(wire::TreeAt { offset, digest: digest.to_wire(), size_bytes });
            }
            if let Some(StoredBlob { digest, size_bytes }) = result.coredump {
                coredumps.push(wire::BlobAt { offset, digest: digest.to_wire(), size_bytes });
            }
        }
        wire::Page {
            job: self.stage.job.0,
            stage: self.stage.stage,
            first: self.first,
            kinds: self.results.iter().map(|result| result.outcome.wire_number()).collect(),
            outcomes,
            fuel: self.results.iter().map(|result| result.usage.fuel).collect(),
            peak_memory_bytes: self.results.iter().map(|r| r.usage.peak_memory_bytes).collect(),
            wall_us: self.results.iter().map(|result| result.usage.wall_us).collect(),
            stdout: encode_column(self.results.iter().map(|result| &result.stdout)),
            stderr: encode_column(self.results.iter().map(|result| &result.stderr)),
            out,
            read_bytes: sparse(self.results.iter().map(|result| result.usage.read_bytes)),
            written_bytes: sparse(self.results.iter().map(|result| result.usage.written_bytes)),
            coredumps,
        }
        .encode_to_vec()
    }

    /// Reads a page's bytes.
    ///
    /// # Errors
    /// `Undecodable` or `Invalid`, when the columns do not fit each other or a bound is broken.
    pub fn decode(bytes: &[u8]) -> Result<Page, Malformed> {
        if bytes.len() > MAX_PAGE_BYTES {
            return Err(Malformed::invalid("page", format!("it has {} bytes", bytes.len())));
        }
        let wire = wire::Page::decode(bytes)
            .map_err(|source| Malformed::Undecodable { what: "page", source })?;
        let tasks = wire.kinds.len();
        let ends = wire.first as usize + tasks;
        if !(1..=MAX_PAGE_TASKS).contains(&tasks) || ends > u32::MAX as usize {
            return Err(Malformed::invalid("page", format!("it has {tasks} tasks")));
        }
        if [&wire.fuel, &wire.peak_memory_bytes, &wire.wall_us].iter().any(|c| c.len() != tasks) {
            return Err(Malformed::invalid("page", "its columns differ in length"));
        }
        if [&wire.read_bytes, &wire.written_bytes].iter().any(|c| !c.is_empty() && c.len() != tasks)
        {
            return Err(Malformed::invalid("page", "its columns of bytes differ in length"));
        }
        let bytes_at = |column: &[u64], at: usize| column.get(at).copied().unwrap_or(0);
        let mut stdout = decode_column(wire.stdout, tasks)?.into_iter();
        let mut stderr = decode_column(wire.stderr, tasks)?.into_iter();
        let mut results: Vec<TaskResult> = (0..tasks)
            .map(|at| TaskResult {
                outcome: Outcome::Succeeded { exit_code: 0 },
                usage: Usage {
                    fuel: wire.fuel[at],
                    peak_memory_bytes: wire.peak_memory_bytes[at],
                    wall_us: wire.wall_us[at],
                    read_bytes: bytes_at(&wire.read_bytes, at),
                    written_bytes: bytes_at(&wire.written_bytes, at),
                },
                stdout: stdout.next().unwrap_or_else(Output::empty),
                stderr: stderr.next().unwrap_or_else(Output::empty),
                out: None,
                coredump: None,
            })
            .collect();
        for wire::OutcomeAt { offset, outcome } in wire.outcomes {
            let outcome = outcome.ok_or(Malformed::Missing { what: "an outcome" })?;
            result_at(&mut results, offset)?.outcome = outcome.try_into()?;
        }
        for wire::TreeAt { offset, digest, size_bytes } in wire.out {
            let digest = Digest::try_from(&digest[..])?;
            result_at(&mut results, offset)?.out = Some(OutTree { digest, size_bytes });
        }
        for wire::BlobAt { offset, digest, size_bytes } in wire.coredumps {
            let digest = Digest::try_from(&digest[..])?;
            result_at(&mut results, offset)?.coredump = Some(StoredBlob { digest, size_bytes });
        }
        if results.iter().zip(&wire.kinds).any(|(r, kind)| r.outcome.wire_number() != *kind) {
            return Err(Malformed::invalid("page", "its outcomes differ from their kinds"));
        }
        let stage = StageId { job: JobId(wire.job), stage: wire.stage };
        Ok(Page { stage, first: wire.first, results })
    }
}

fn result_at(results: &mut [TaskResult], offset: u32) -> Result<&mut TaskResult, Malformed> {
    let tasks = results.len();
    results
        .get_mut(offset as usize)
        .ok_or_else(|| Malformed::invalid("page", format!("offset {offset} of {tasks} tasks")))
}

/// A column that is left out where all of it is 0.
fn sparse(column: impl Iterator<Item = u64>) -> Vec<u64> {
    let column: Vec<u64> = column.collect();
    if column.iter().all(|bytes| *bytes == 0) { Vec::new() } else { column }
}

fn encode_column<'a>(outputs: impl Iterator<Item = &'a Output>) -> Option<wire::OutputColumn> {
    let mut column = wire::OutputColumn::default();
    for (offset, output) in (0u32..).zip(outputs) {
        match output {
            Output::Inline(bytes) => {
                column.lengths.push(bytes.len() as u32);
                column.inline.extend_from_slice(bytes);
            }
            Output::Blob { digest, size_bytes } => {
                column.lengths.push(0);
                let digest = digest.to_wire();
                column.blobs.push(wire::BlobAt { offset, digest, size_bytes: *size_bytes });
            }
        }
    }
    let empty = column.inline.is_empty() && column.blobs.is_empty();
    (!empty).then_some(column)
}

fn decode_column(
    column: Option<wire::OutputColumn>,
    tasks: usize,
) -> Result<Vec<Output>, Malformed> {
    let Some(column) = column else { return Ok(Vec::new()) };
    if column.lengths.len() != tasks {
        return Err(Malformed::invalid("page", "an output column has another length"));
    }
    let mut rest = &column.inline[..];
    let mut outputs = Vec::with_capacity(tasks);
    for length in column.lengths {
        let (bytes, tail) = rest
            .split_at_checked(length as usize)
            .ok_or_else(|| Malformed::invalid("page", "an output column ends early"))?;
        outputs.push(Output::Inline(bytes.to_vec()));
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(Malformed::invalid("page", "an output column ends late"));
    }
    for wire::BlobAt { offset, digest, size_bytes } in column.blobs {
        let digest = Digest::try_from(&digest[..])?;
        let output = outputs
            .get_mut(offset as usize)
            .ok_or_else(|| Malformed::invalid("page", format!("offset {offset} of {tasks}")))?;
        *output = Output::Blob { digest, size_bytes };
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::Exceeded;

    fn output() -> impl Strategy<Value = Output> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Output::Inline),
            any::<u64>()
                .prop_map(|n| Output::Blob { digest: Digest::of(&n.to_le_bytes()), size_bytes: n }),
        ]
    }

    fn result() -> impl Strategy<Value = TaskResult> {
        let outcome = prop_oneof![
            Just(Outcome::Succeeded { exit_code: 0 }),
            any::<i32>().prop_map(|exit_code| Outcome::Failed { exit_code }),
            any::<u64>().prop_map(|n| Outcome::OutOfFuel(Exceeded { used: n, limit: n })),
        ];
        let usage = (any::<[u64; 3]>(), 0..3u64, 0..3u64).prop_map(
            |([fuel, peak_memory_bytes, wall_us], read_bytes, written_bytes)| Usage {
                fuel,
                peak_memory_bytes,
                wall_us,
                read_bytes,
                written_bytes,
            },
        );
        (outcome, usage, output(), output(), any::<[Option<u64>; 2]>()).prop_map(
            |(outcome, usage, stdout, stderr, [out, coredump])| TaskResult {
                outcome,
                usage,
                stdout,
                stderr,
                out: out.map(|n| OutTree { digest: Digest::of(&n.to_be_bytes()), size_bytes: n }),
                coredump: coredump
                    .map(|n| StoredBlob { digest: Digest::of(&n.to_le_bytes()), size_bytes: n }),
            },
        )
    }

    proptest! {
        #[test]
        fn a_page_reads_back_as_it_was_written(
            first in 0..1_000_000u32,
            results in prop::collection::vec(result(), 1..20),
        ) {
            let page = Page { stage: StageId { job: JobId(3), stage: 0 }, first, results };
            prop_assert_eq!(Page::decode(&page.encode()), Ok(page));
        }

        #[test]
        fn bytes_at_random_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Page::decode(&bytes);
        }

        #[test]
        fn a_page_with_a_flipped_bit_never_panics(
            results in prop::collection::vec(result(), 1..5),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let stage = StageId { job: JobId(3), stage: 0 };
            let mut bytes = Page { stage, first: 0, results }.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = Page::decode(&bytes);
        }
    }

    #[test]
    fn a_quiet_task_takes_few_bytes_of_a_page() {
        let usage =
            Usage { fuel: 9_000, peak_memory_bytes: 65_536, wall_us: 20, ..Usage::default() };
        let result = TaskResult::without_output(Outcome::Succeeded { exit_code: 0 }, usage);
        let stage = StageId { job: JobId(1), stage: 0 };
        let page = Page { stage, first: 0, results: vec![result; 1000] };
        assert!(page.encode().len() <= 16_000, "{} bytes", page.encode().len());
    }
}
