//! A job and an agent for the tests of this crate.

use weir_proto::{
    agent::AgentDescription,
    digest::Digest,
    id::{AgentId, Incarnation, JobId, Namespace, StageId},
    job::{JobSpec, StageSpec, TaskKind},
    limits::Resources,
};

pub(crate) const MIB: u64 = 1 << 20;

/// A job of one array whose tasks take a core and so much memory each.
pub(crate) fn spec(count: u32, memory_mib: u64) -> JobSpec {
    let stage = StageSpec {
        count,
        kind: TaskKind::Array,
        resources: Resources::new(1000, memory_mib * MIB),
        ..StageSpec::new("main", Digest::of(b"module"))
    };
    let namespace = Namespace::default_namespace();
    JobSpec { name: "job".to_owned(), namespace, stages: vec![stage], priority: 0 }
}

/// An agent with so many cores and 1 GiB.
pub(crate) fn agent(id: u64, cores: u32) -> AgentDescription {
    AgentDescription {
        id: AgentId(id),
        incarnation: Incarnation(1),
        name: "a".to_owned(),
        architecture: "x86_64".to_owned(),
        profile: "weir-1".to_owned(),
        epoch_profile: None,
        resources: Resources::new(cores * 1000, 1024 * MIB),
        fuel_per_second: 1,
        version: "0".to_owned(),
    }
}

/// The one stage of a job.
pub(crate) fn stage(job: u64) -> StageId {
    StageId { job: JobId(job), stage: 0 }
}
