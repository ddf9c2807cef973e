//! What the tasks of a lane share, made once: the module, stdin's bytes, and the directory that
//! they all see as `/in`.

use std::sync::Arc;

use bytes::Bytes;
use weir_proto::outcome::Outcome;

use super::{
    Shared,
    attempt::unusable,
    lane::{Lane, NotPrepared},
    scratch::{ScratchDir, ScratchError},
};
use crate::{
    data::{DataError, chain},
    modules::{ModuleError, ReadyModule},
};

/// What a lane's tasks share.
pub(super) struct Prepared {
    pub(super) module: Arc<ReadyModule>,
    pub(super) stdin: Bytes,
    pub(super) input_dir: Option<ScratchDir>,
}

#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("cannot have the module")]
    Module(#[from] ModuleError),
    #[error("cannot have an input")]
    Data(#[from] DataError),
    #[error("cannot lay out the inputs")]
    Scratch(#[from] ScratchError),
}

/// Fetches, compiles and lays out what a lane needs.
pub(super) async fn prepare(shared: &Shared, lane: &Lane) -> Result<Arc<Prepared>, NotPrepared> {
    let _permit = shared.preparing.acquire().await.expect("the semaphore is never closed");
    try_prepare(shared, lane).await.map(Arc::new).map_err(|error| match error {
        PrepareError::Module(ModuleError::Invalid { reason }) => {
            NotPrepared::Refused(Outcome::InvalidModule { reason })
        }
        PrepareError::Module(ModuleError::Data(DataError::NotFound(digest)))
        | PrepareError::Data(DataError::NotFound(digest)) => {
            NotPrepared::Refused(Outcome::MissingInput { digest })
        }
        PrepareError::Data(DataError::Unusable { reason }) => {
            NotPrepared::Refused(unusable("invalid_input", reason))
        }
        error => NotPrepared::CannotRun(chain(&error)),
    })
}

async fn try_prepare(shared: &Shared, lane: &Lane) -> Result<Prepared, PrepareError> {
    let (data, spec, namespace) = (&shared.data, &lane.spec, &lane.namespace);
    let module = shared.modules.get(spec.module, || data.get(namespace, spec.module)).await?;
    let stdin = match spec.stdin {
        Some(digest) => data.get(namespace, digest).await?,
        None => Bytes::new(),
    };
    Ok(Prepared { module, stdin, input_dir: lay_out(shared, lane).await? })
}

/// Makes the directory that tasks see as `/in`, if they have inputs.
async fn lay_out(shared: &Shared, lane: &Lane) -> Result<Option<ScratchDir>, PrepareError> {
    if lane.spec.inputs.is_empty() {
        return Ok(None);
    }
    let dir = shared.scratch.make_dir().await?;
    for input in &lane.spec.inputs {
        // The spec was checked where it came in: below `/in`, no `..`, and nothing overlaps.
        let below = input.path.strip_prefix("/in/").unwrap_or(&input.path);
        let path = dir.path().join(below.trim_start_matches('/'));
        let parent = path.parent().unwrap_or(dir.path()).to_owned();
        tokio::fs::create_dir_all(&parent)
            .await
            .map_err(|source| DataError::Disk { path: parent, source })?;
        shared.data.materialize(&lane.namespace, input.source, &path).await?;
    }
    Ok(Some(dir))
}
