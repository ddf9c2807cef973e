//! How an attempt ended. Always data, never an error: a guest that fails is not our failure.

use std::{fmt, time::Duration};

use crate::{
    digest::Digest,
    malformed::{Malformed, required},
    units::{grouped, short_bytes, short_duration},
    wire,
};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The guest exited with 0 or one of the stage's success codes.
    Succeeded {
        /// What it exited with.
        exit_code: i32,
    },
    /// The guest exited with another code.
    Failed {
        /// What it exited with.
        exit_code: i32,
    },
    /// The guest did what Wasm forbids.
    Trapped(Trap),
    /// Limits of fuel.
    OutOfFuel(Exceeded),
    /// Limits of memory; `used` is what it asked for, in bytes.
    OutOfMemory(Exceeded),
    /// Limits of wall time, in milliseconds.
    TimedOut(Exceeded),
    /// Limits of stdout, stderr or `/out`, in bytes.
    OutputTooLarge(Exceeded),
    /// Limits of `/tmp`, in bytes.
    ScratchFull(Exceeded),
    /// Compiling the module took more than an agent allows.
    CompileLimit {
        /// Which limit.
        reason: String,
    },
    /// The module cannot run as a task.
    InvalidModule {
        /// What is wrong with it.
        reason: String,
    },
    /// An input is not in the store.
    MissingInput {
        /// Its digest.
        digest: Digest,
    },
    /// Somebody cancelled the job.
    Cancelled,
    /// Given by the scheduler: agents were lost while they ran this task.
    AgentLostTooOften {
        /// How many.
        losses: u32,
    },
    /// Given by the scheduler: what the task needs did not succeed.
    UpstreamFailed,
    /// Given by the scheduler: the job's deadline passed.
    DeadlineExpired,
}

/// What Wasm says of a trap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// A stable word for its kind, such as `unreachable`.
    pub kind: String,
    /// The sentence for people.
    pub message: String,
    /// The guest's call stack, innermost first.
    pub frames: Vec<String>,
}

/// A limit, and what was used when it was hit; units by the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// What was used or asked for.
    pub used: u64,
    /// What was allowed.
    pub limit: u64,
}

/// Why tasks did not succeed: outcomes that people would count together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The outcome's number on the wire.
    pub kind: u8,
    /// What tells it apart from others of its kind, at most `MAX_CAUSE_BYTES`; may be empty.
    pub detail: String,
}

/// Longest detail of a cause, in bytes.
pub const MAX_CAUSE_BYTES: usize = 64;

/// What an attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fuel; after a trap a lower bound.
    pub fuel: u64,
    /// Most memory at any moment, in bytes.
    pub peak_memory_bytes: u64,
    /// Wall time in microseconds.
    pub wall_us: u64,
    /// Bytes that the guest read from stdin and from files.
    pub read_bytes: u64,
    /// Bytes that the guest wrote to stdout, stderr and files, those that were written over
    /// included.
    pub written_bytes: u64,
}

impl Outcome {
    /// Whether it is success.
    pub fn succeeded(&self) -> bool {
        matches!(self, Outcome::Succeeded { .. })
    }

    /// A stable word for programs: `out_of_fuel`.
    pub fn word(&self) -> &'static str {
        WORDS[usize::from(self.wire_number()) - 1]
    }

    /// Whether running the task again may end otherwise: nobody wanted this end, and the module is
    /// one that can run.
    pub fn may_be_retried(&self) -> bool {
        !matches!(
            self,
            Outcome::Succeeded { .. } | Outcome::Cancelled | Outcome::InvalidModule { .. }
        )
    }

    /// What it is counted under.
    pub fn cause(&self) -> Cause {
        let detail = match self {
            Outcome::Failed { exit_code } => format!("exit code {exit_code}"),
            Outcome::Trapped(trap) => bounded(&trap.kind),
            Outcome::InvalidModule { reason } | Outcome::CompileLimit { reason } => bounded(reason),
            Outcome::MissingInput { .. }
            | Outcome::Succeeded { .. }
            | Outcome::OutOfFuel(_)
            | Outcome::OutOfMemory(_)
            | Outcome::TimedOut(_)
            | Outcome::OutputTooLarge(_)
            | Outcome::ScratchFull(_)
            | Outcome::Cancelled
            | Outcome::AgentLostTooOften { .. }
            | Outcome::UpstreamFailed
            | Outcome::DeadlineExpired => String::new(),
        };
        Cause { kind: self.wire_number(), detail }
    }

    /// The outcome's number on the wire: its field in `Outcome.kind`.
    pub fn wire_number(&self) -> u8 {
        match self {
            Outcome::Succeeded { .. } => 1,
            Outcome::Failed { .. } => 2,
            Outcome::Trapped(_) => 3,
            Outcome::OutOfFuel(_) => 4,
            Outcome::OutOfMemory(_) => 5,
            Outcome::TimedOut(_) => 6,
            Outcome::OutputTooLarge(_) => 7,
            Outcome::ScratchFull(_) => 8,
            Outcome::CompileLimit { .. } => 9,
            Outcome::InvalidModule { .. } => 10,
            Outcome::MissingInput { .. } => 11,
            Outcome::Cancelled => 12,
            Outcome::AgentLostTooOften { .. } => 13,
            Outcome::UpstreamFailed => 14,
            Outcome::DeadlineExpired => 15,
        }
    }
}

/// Stable words of outcomes, in the order of their numbers on the wire, from 1.
pub const WORDS: [&str; 15] = [
    "succeeded",
    "failed",
    "trapped",
    "out_of_fuel",
    "out_of_memory",
    "timed_out",
    "output_too_large",
    "scratch_full",
    "compile_limit",
    "invalid_module",
    "missing_input",
    "cancelled",
    "agent_lost_too_often",
    "upstream_failed",
    "deadline_expired",
];

impl Cause {
    /// The stable word of its outcomes; `unknown` of a newer Weir's.
    pub fn word(&self) -> &'static str {
        let place = usize::from(self.kind).checked_sub(1);
        place.and_then(|place| WORDS.get(place)).copied().unwrap_or("unknown")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word().replace('_', " "))?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// The first line of a text, cut to `MAX_CAUSE_BYTES`.
fn bounded(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line[..line.floor_char_boundary(MAX_CAUSE_BYTES)].to_owned()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Succeeded { exit_code: 0 } => write!(f, "succeeded"),
            Outcome::Succeeded { exit_code } => write!(f, "succeeded with exit code {exit_code}"),
            Outcome::Failed { exit_code } => write!(f, "failed with exit code {exit_code}"),
            Outcome::Trapped(trap) => write!(f, "trapped: {}", trap.message),
            Outcome::OutOfFuel(Exceeded { used, limit }) => {
                write!(f, "out of fuel: used {} of {}", grouped(*used), grouped(*limit))
            }
            Outcome::OutOfMemory(Exceeded { used, limit }) => write!(
                f,
                "out of memory: asked for {} of {} bytes ({} allowed)",
                grouped(*used),
                grouped(*limit),
                short_bytes(*limit)
            ),
            Outcome::TimedOut(Exceeded { used, limit }) => {
                let (used, limit) = (Duration::from_millis(*used), Duration::from_millis(*limit));
                write!(f, "timed out: ran {} of {}", short_duration(used), short_duration(limit))
            }
            Outcome::OutputTooLarge(Exceeded { used, limit }) => {
                write!(f, "output too large: wrote {} of {} bytes", grouped(*used), grouped(*limit))
            }
            Outcome::ScratchFull(Exceeded { used, limit }) => {
                write!(f, "scratch full: wrote {} of {} bytes", grouped(*used), grouped(*limit))
            }
            Outcome::CompileLimit { reason } => write!(f, "compile limit: {reason}"),
            Outcome::InvalidModule { reason } => write!(f, "invalid module: {reason}"),
            Outcome::MissingInput { digest } => {
                write!(f, "missing input: {digest} is not in the store")
            }
            Outcome::Cancelled => write!(f, "cancelled"),
            Outcome::AgentLostTooOften { losses: 1 } => {
                write!(f, "agent lost: it had the task, which runs at most once; it may have begun")
            }
            Outcome::AgentLostTooOften { losses } => {
                write!(f, "agent lost too often: {losses} agents were lost while they ran it")
            }
            Outcome::UpstreamFailed => write!(f, "upstream failed"),
            Outcome::DeadlineExpired => write!(f, "deadline expired"),
        }
    }
}

impl From<Outcome> for wire::Outcome {
    fn from(outcome: Outcome) -> wire::Outcome {
        use wire::outcome::Kind;
        let kind = match outcome {
            Outcome::Succeeded { exit_code } => Kind::Succeeded(exit_code),
            Outcome::Failed { exit_code } => Kind::Failed(exit_code),
            Outcome::Trapped(Trap { kind, message, frames }) => {
                Kind::Trapped(wire::Trap { kind, message, frames })
            }
            Outcome::OutOfFuel(exceeded) => Kind::OutOfFuel(exceeded.into()),
            Outcome::OutOfMemory(exceeded) => Kind::OutOfMemory(exceeded.into()),
            Outcome::TimedOut(exceeded) => Kind::TimedOut(exceeded.into()),
            Outcome::OutputTooLarge(exceeded) => Kind::OutputTooLarge(exceeded.into()),
            Outcome::ScratchFull(exceeded) => Kind::ScratchFull(exceeded.into()),
            Outcome::CompileLimit { reason } => Kind::CompileLimit(reason),
            Outcome::InvalidModule { reason } => Kind::InvalidModule(reason),
            Outcome::MissingInput { digest } => Kind::MissingInput(digest.to_wire()),
            Outcome::Cancelled => Kind::Cancelled(true),
            Outcome::AgentLostTooOften { losses } => Kind::AgentLostTooOften(losses),
            Outcome::UpstreamFailed => Kind::UpstreamFailed(true),
            Outcome::DeadlineExpired => Kind::DeadlineExpired(true),
        };
        wire::Outcome { kind: Some(kind) }
    }
}

impl TryFrom<wire::Outcome> for Outcome {
    type Error = Malformed;

    fn try_from(wire: wire::Outcome) -> Result<Outcome, Malformed> {
        use wire::outcome::Kind;
        Ok(match required(wire.kind, "an outcome's kind")? {
            Kind::Succeeded(exit_code) => Outcome::Succeeded { exit_code },
            Kind::Failed(exit_code) => Outcome::Failed { exit_code },
            Kind::Trapped(wire::Trap { kind, message, frames }) => {
                Outcome::Trapped(Trap { kind, message, frames })
            }
            Kind::OutOfFuel(exceeded) => Outcome::OutOfFuel(exceeded.into()),
            Kind::OutOfMemory(exceeded) => Outcome::OutOfMemory(exceeded.into()),
            Kind::TimedOut(exceeded) => Outcome::TimedOut(exceeded.into()),
            Kind::OutputTooLarge(exceeded) => Outcome::OutputTooLarge(exceeded.into()),
            Kind::ScratchFull(exceeded) => Outcome::ScratchFull(exceeded.into()),
            Kind::CompileLimit(reason) => Outcome::CompileLimit { reason },
            Kind::InvalidModule(reason) => Outcome::InvalidModule { reason },
            Kind::MissingInput(digest) => {
                Outcome::MissingInput { digest: Digest::try_from(&digest[..])? }
            }
            Kind::Cancelled(_) => Outcome::Cancelled,
            Kind::AgentLostTooOften(losses) => Outcome::AgentLostTooOften { losses },
            Kind::UpstreamFailed(_) => Outcome::UpstreamFailed,
            Kind::DeadlineExpired(_) => Outcome::DeadlineExpired,
        })
    }
}

impl From<Exceeded> for wire::Exceeded {
    fn from(exceeded: Exceeded) -> wire::Exceeded {
        wire::Exceeded { used: exceeded.used, limit: exceeded.limit }
    }
}

impl From<wire::Exceeded> for Exceeded {
    fn from(wire: wire::Exceeded) -> Exceeded {
        Exceeded { used: wire.used, limit: wire.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_tells_its_numbers() {
        let outcome = Outcome::OutOfFuel(Exceeded { used: 5_000_000, limit: 5_000_000 });
        assert_eq!(outcome.to_string(), "out of fuel: used 5,000,000 of 5,000,000");
    }

    #[test]
    fn an_outcome_reads_back_as_it_was_written() {
        let trap =
            Trap { kind: "unreachable".into(), message: "m".into(), frames: vec!["f".into()] };
        for outcome in [
            Outcome::Succeeded { exit_code: 3 },
            Outcome::Trapped(trap),
            Outcome::MissingInput { digest: Digest::of(b"x") },
            Outcome::Cancelled,
            Outcome::AgentLostTooOften { losses: 3 },
        ] {
            assert_eq!(Outcome::try_from(wire::Outcome::from(outcome.clone())), Ok(outcome));
        }
    }
}
