//! What is kept of a run, and how it is written down.

use std::fmt::Write as _;

use weir_agent::data::MemoryData;
use weir_proto::{
    outcome::Outcome,
    page::{Output, TaskResult},
    units::grouped,
};

/// Most bytes of an output that are written down as they are, and most files of an `/out`.
const MAX_BYTES: usize = 1024;
const MAX_FILES: usize = 8;

/// How one guest ended, with all it left.
pub(crate) struct Record {
    end: Vec<String>,
    /// Only where it is more than a lower bound.
    fuel: Option<u64>,
    peak_memory_bytes: Option<u64>,
    /// By its name.
    outputs: Vec<(&'static str, Vec<u8>)>,
    files: Vec<String>,
}

/// What of a record is compared.
#[derive(Clone, Copy)]
pub(crate) struct Sees {
    pub(crate) fuel: bool,
    pub(crate) output: bool,
}

/// All of it.
pub(crate) const ALL: Sees = Sees { fuel: true, output: true };

impl Record {
    /// `extra_fuel` was not for the guest.
    pub(crate) fn of(result: TaskResult, extra_fuel: u64, data: &MemoryData) -> Record {
        let fuel = result.usage.fuel.saturating_sub(extra_fuel);
        let (end, fuel) = match &result.outcome {
            // How deep it came is the machine's affair, and so is all it did until then.
            Outcome::Trapped(trap) if trap.kind == "stack_overflow" => {
                return Record::only("trapped: stack_overflow");
            }
            Outcome::Trapped(trap) => {
                let first = format!("trapped: {}, {}", trap.kind, trap.message);
                let frames = trap.frames.iter().map(|frame| format!("  in {frame}"));
                ([first].into_iter().chain(frames).collect(), None)
            }
            Outcome::OutOfFuel(exceeded) => {
                let used = exceeded.used - extra_fuel;
                let limit = exceeded.limit - extra_fuel;
                let end = format!("out of fuel: {} of {}", grouped(used), grouped(limit));
                (vec![end], Some(fuel))
            }
            Outcome::Succeeded { .. } | Outcome::Failed { .. } => {
                (vec![result.outcome.to_string()], Some(fuel))
            }
            other => (vec![other.to_string()], None),
        };
        let files = result.out.map_or_else(Vec::new, |out| {
            let files = data.tree(out.digest).expect("a tree that was put").into_iter();
            files.map(|(path, digest)| format!("{path} {digest}")).collect()
        });
        let outputs = [("stdout", result.stdout), ("stderr", result.stderr)];
        Record {
            end,
            fuel,
            peak_memory_bytes: Some(result.usage.peak_memory_bytes),
            outputs: outputs.map(|(name, output)| (name, bytes(output, data))).into(),
            files,
        }
    }

    fn only(end: &str) -> Record {
        Record {
            end: vec![end.to_owned()],
            fuel: None,
            peak_memory_bytes: None,
            outputs: Vec::new(),
            files: Vec::new(),
        }
    }

    /// As lines.
    pub(crate) fn text(&self, sees: Sees) -> String {
        let mut text = String::new();
        for line in &self.end {
            let _ = writeln!(text, "{line}");
        }
        if let Some(fuel) = self.fuel.filter(|_| sees.fuel) {
            let _ = writeln!(text, "{} fuel", grouped(fuel));
        }
        if let Some(bytes) = self.peak_memory_bytes {
            let _ = writeln!(text, "{} bytes of memory", grouped(bytes));
        }
        if !sees.output {
            return text;
        }
        for (name, bytes) in self.outputs.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let _ = writeln!(text, "{name}, {} bytes:", grouped(bytes.len() as u64));
            shown(bytes).for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        if !self.files.is_empty() {
            let _ = writeln!(text, "/out, {} files:", self.files.len());
            match self.files.len() {
                0..=MAX_FILES => {
                    self.files.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
                }
                _ => {
                    let _ = writeln!(text, "  {}", digest(self.files.join("\n").as_bytes()));
                }
            }
        }
        text
    }
}

fn bytes(output: Output, data: &MemoryData) -> Vec<u8> {
    match output {
        Output::Inline(bytes) => bytes,
        Output::Blob { digest, .. } => data.blob(digest).expect("a blob that was put").to_vec(),
    }
}

/// Text of some lines as it is; all else by its digest.
fn shown(bytes: &[u8]) -> Box<dyn Iterator<Item = String> + '_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_BYTES => {
            Box::new(text.lines().map(|line| line.escape_debug().to_string()))
        }
        _ => Box::new([digest(bytes)].into_iter()),
    }
}

fn digest(bytes: &[u8]) -> String {
    weir_proto::digest::Digest::of(bytes).to_string()
}
