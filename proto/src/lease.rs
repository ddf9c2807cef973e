//! A lease: tasks of one stage that the leader lends to an agent.

use std::{fmt, time::Duration};

use crate::{
    id::{JobId, LeaseId, Namespace, StageId},
    job::StageSpec,
    malformed::{Malformed, required},
    range::{RangeSet, TaskRange},
    units::short_duration,
    wire,
};

/// Most weights of a lease: more than a namespace can have parts.
const MAX_WEIGHTS: usize = 128;

/// A grant of tasks. One whose id the agent knows adds its tasks to that lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The stage whose tasks are lent.
    pub stage: StageId,
    /// The tasks.
    pub range: TaskRange,
    /// How many of its tasks may run at once; what is counted against the agent. Above 0.
    pub slots: u32,
    /// The namespace whose blobs the tasks may read.
    pub namespace: Namespace,
    /// What the tasks are.
    pub spec: StageSpec,
    /// The profile they must run under.
    pub profile: String,
    /// Shares of the agent's cores: of each part of the namespace, beside others in the same, and of
    /// the job, beside the namespace's others. Those that are missing are 1.
    pub weights: Vec<u32>,
}

/// How far a lease has come on its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseMarks {
    /// The lease.
    pub id: LeaseId,
    /// Its stage.
    pub stage: StageId,
    /// Its slots.
    pub slots: u32,
    /// Tasks that were neither given back nor have a result that the leader has stored; those that
    /// run, and those whose page is on its way, are among them.
    pub open: RangeSet,
    /// Tasks that run now, those that stand still included.
    pub started: Vec<u32>,
    /// Those of them that stand still.
    pub paused: RangeSet,
    /// Mean wall time of its tasks in microseconds; 0 before one has ended.
    pub mean_task_us: u64,
    /// What has to be done before its tasks can run; nothing once they can.
    pub preparing: Option<Preparing>,
}

/// What has to be done before a lease's tasks can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preparing {
    /// What is done now.
    pub step: PrepareStep,
    /// For how long, in milliseconds: clocks of machines differ.
    pub for_ms: u64,
}

/// A step on the way from a lease to its first task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrepareStep {
    /// Others are compiled, as many as may be at once.
    Turn,
    /// The module is fetched, or its code loaded.
    Module,
    /// The module is compiled.
    Compile,
    /// Inputs are fetched and laid out.
    Inputs,
}

impl Preparing {
    /// The step, and since when by the clock of whoever hears of it.
    pub fn since(self, now_ms: u64) -> (PrepareStep, u64) {
        (self.step, now_ms.saturating_sub(self.for_ms))
    }
}

impl PrepareStep {
    /// A stable word for programs: `compile`.
    pub fn word(self) -> &'static str {
        match self {
            PrepareStep::Turn => "turn",
            PrepareStep::Module => "module",
            PrepareStep::Compile => "compile",
            PrepareStep::Inputs => "inputs",
        }
    }
}

/// Behind an agent's name a sentence.
impl fmt::Display for Preparing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = match self.step {
            PrepareStep::Turn => "waits for its turn to compile the module",
            PrepareStep::Module => "fetches the module",
            PrepareStep::Compile => "compiles the module",
            PrepareStep::Inputs => "fetches the inputs",
        };
        write!(f, "{does}, for {}", short_duration(Duration::from_millis(self.for_ms)))
    }
}

impl From<LeaseId> for wire::LeaseId {
    fn from(id: LeaseId) -> wire::LeaseId {
        wire::LeaseId { term: id.term, seq: id.seq }
    }
}

impl From<wire::LeaseId> for LeaseId {
    fn from(wire: wire::LeaseId) -> LeaseId {
        LeaseId { term: wire.term, seq: wire.seq }
    }
}

impl From<Lease> for wire::Lease {
    fn from(lease: Lease) -> wire::Lease {
        wire::Lease {
            id: Some(lease.id.into()),
            job: lease.stage.job.0,
            stage: lease.stage.stage,
            range: Some(lease.range.into()),
            slots: lease.slots,
            namespace: lease.namespace.as_str().to_owned(),
            spec: Some(lease.spec.into()),
            profile: lease.profile,
            weights: lease.weights,
        }
    }
}

impl TryFrom<wire::Lease> for Lease {
    type Error = Malformed;

    fn try_from(wire: wire::Lease) -> Result<Lease, Malformed> {
        let range = TaskRange::try_from(required(wire.range, "a lease's range")?)?;
        let spec = StageSpec::try_from(required(wire.spec, "a lease's spec")?)
            .map_err(|problems| Malformed::invalid("a lease's spec", problems.to_string()))?;
        if wire.slots == 0 || range.end > spec.count {
            let why = format!("{range} of {} tasks with {} slots", spec.count, wire.slots);
            return Err(Malformed::invalid("a lease", why));
        }
        if wire.weights.len() > MAX_WEIGHTS || wire.weights.contains(&0) {
            return Err(Malformed::invalid("a lease", "its weights are too many, or 0"));
        }
        Ok(Lease {
            id: required(wire.id, "a lease's id")?.into(),
            stage: StageId { job: JobId(wire.job), stage: wire.stage },
            range,
            slots: wire.slots,
            namespace: wire.namespace.parse()?,
            spec,
            profile: wire.profile,
            weights: wire.weights,
        })
    }
}

impl From<LeaseMarks> for wire::LeaseMarks {
    fn from(marks: LeaseMarks) -> wire::LeaseMarks {
        wire::LeaseMarks {
            id: Some(marks.id.into()),
            job: marks.stage.job.0,
            stage: marks.stage.stage,
            slots: marks.slots,
            open: marks.open.to_wire(),
            started: marks.started,
            mean_task_us: marks.mean_task_us,
            paused: marks.paused.to_wire(),
            preparing: marks.preparing.map(wire::Preparing::from),
        }
    }
}

impl From<Preparing> for wire::Preparing {
    fn from(preparing: Preparing) -> wire::Preparing {
        let step = match preparing.step {
            PrepareStep::Turn => wire::PrepareStep::Turn,
            PrepareStep::Module => wire::PrepareStep::Module,
            PrepareStep::Compile => wire::PrepareStep::Compile,
            PrepareStep::Inputs => wire::PrepareStep::Inputs,
        };
        wire::Preparing { step: step.into(), for_ms: preparing.for_ms }
    }
}

impl TryFrom<wire::Preparing> for Preparing {
    type Error = Malformed;

    fn try_from(wire: wire::Preparing) -> Result<Preparing, Malformed> {
        let step = match wire.step() {
            wire::PrepareStep::Turn => PrepareStep::Turn,
            wire::PrepareStep::Module => PrepareStep::Module,
            wire::PrepareStep::Compile => PrepareStep::Compile,
            wire::PrepareStep::Inputs => PrepareStep::Inputs,
            wire::PrepareStep::Unspecified => {
                return Err(Malformed::Missing { what: "the step of a lease that is prepared" });
            }
        };
        Ok(Preparing { step, for_ms: wire.for_ms })
    }
}

impl TryFrom<wire::LeaseMarks> for LeaseMarks {
    type Error = Malformed;

    fn try_from(wire: wire::LeaseMarks) -> Result<LeaseMarks, Malformed> {
        let open = RangeSet::from_wire(&wire.open)?;
        if let Some(index) = wire.started.iter().find(|index| !open.contains(**index)) {
            let why = format!("task {index} runs but is not open");
            return Err(Malformed::invalid("a lease's marks", why));
        }
        Ok(LeaseMarks {
            id: required(wire.id, "a lease's id")?.into(),
            stage: StageId { job: JobId(wire.job), stage: wire.stage },
            slots: wire.slots,
            open,
            started: wire.started,
            mean_task_us: wire.mean_task_us,
            paused: RangeSet::from_wire(&wire.paused)?,
            preparing: wire.preparing.map(Preparing::try_from).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Digest, job::TaskKind};

    fn lease() -> wire::Lease {
        let spec = StageSpec { count: 10, kind: TaskKind::Array, ..spec() };
        wire::Lease::from(Lease {
            id: LeaseId { term: 3, seq: 4 },
            stage: StageId { job: JobId(1), stage: 0 },
            range: TaskRange::new(2, 10),
            slots: 2,
            namespace: Namespace::default_namespace(),
            spec,
            profile: "weir-1".to_owned(),
            weights: vec![1, 2],
        })
    }

    fn spec() -> StageSpec {
        StageSpec::new("main", Digest::of(b"module"))
    }

    #[test]
    fn a_lease_reads_back_as_it_was_written() {
        let read = Lease::try_from(lease()).expect("a lease");
        assert_eq!(wire::Lease::from(read), lease());
    }

    #[test]
    fn a_lease_that_makes_no_sense_is_refused() {
        let range = |start, end| Some(wire::Range { start, end });
        for wrong in [
            // Outside its stage, empty, the wrong way round.
            wire::Lease { range: range(2, 11), ..lease() },
            wire::Lease { range: range(10, 12), ..lease() },
            wire::Lease { range: range(3, 3), ..lease() },
            wire::Lease { range: range(5, 2), ..lease() },
            wire::Lease { range: None, ..lease() },
            wire::Lease { slots: 0, ..lease() },
            wire::Lease { id: None, ..lease() },
            wire::Lease { spec: None, ..lease() },
            wire::Lease { namespace: "../up".to_owned(), ..lease() },
            wire::Lease { weights: vec![1, 0], ..lease() },
            wire::Lease { weights: vec![1; MAX_WEIGHTS + 1], ..lease() },
        ] {
            assert!(Lease::try_from(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
