//! The services in front of the master: parse at the border, ask the loop, answer.
//!
//! Stop 3 of a task's way. The one place where a refusal becomes a gRPC status is here.

mod agents;
mod backup;
mod cluster;
mod events;
mod jobs;
pub(crate) mod list;
mod module;
mod names;
pub(crate) mod peers;
mod upgrade;
pub(crate) mod view;
mod watch;

use std::sync::Arc;

use tonic::{Code, Status, metadata::MetadataMap};
use weir_proto::{job::SpecProblems, malformed::Malformed, reads};
use weir_scheduler::{apply::Rejection, state::ClusterState};

pub(crate) use self::{
    agents::AgentsService, cluster::ClusterService, jobs::JobsService, names::NamesService,
    peers::PeersService,
};
use crate::{
    control::Refusal,
    driver::{Handle, Stopping},
};

/// The state, with everything that was acknowledged before now; or as this master knows it, if the
/// caller says that this will do.
async fn read(master: &Handle, call: &MetadataMap) -> Result<Arc<ClusterState>, Status> {
    if call.get(reads::HEADER).is_some_and(|reads| reads == reads::STALE) {
        return Ok(master.state());
    }
    let read = master.read().await.map_err(stopping)?;
    read.map_err(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::NotLeader(_) | Refusal::NoMajority { .. } | Refusal::Busy => Code::Unavailable,
        Refusal::Member(_) => Code::FailedPrecondition,
        Refusal::Rejected(rejection) => match rejection {
            Rejection::UnknownJob(_)
            | Rejection::UnknownStage(_)
            | Rejection::UnknownAgent(_)
            | Rejection::UnknownName { .. } => Code::NotFound,
            Rejection::StillActive(_)
            | Rejection::NothingToRetry(_)
            | Rejection::AgentGone(_)
            | Rejection::HasEnded(_)
            | Rejection::NotGranted { .. }
            | Rejection::NameConflict { .. } => Code::FailedPrecondition,
            Rejection::TooManyJobs { .. }
            | Rejection::TooManyTasks { .. }
            | Rejection::TooManyNames
            | Rejection::TooManyWeights
            | Rejection::TooManyAgents => Code::ResourceExhausted,
            Rejection::ClusterExists(_) => Code::AlreadyExists,
        },
    };
    Status::new(code, refusal.to_string())
}

fn malformed(malformed: &Malformed) -> Status {
    Status::invalid_argument(malformed.to_string())
}

fn problems(SpecProblems(problems): &SpecProblems) -> Status {
    Status::invalid_argument(problems.join("\n"))
}

fn stopping(stopping: Stopping) -> Status {
    Status::unavailable(stopping.to_string())
}
