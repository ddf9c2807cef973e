//! What the tasks of a lane share, made once: the module, stdin's bytes, the manifest of their items,
//! and the directories that none of them may change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::{
    id::Namespace,
    job::{Stdin, TaskKind},
    outcome::Outcome,
};

use super::{
    Shared,
    attempt::unusable,
    items::Items,
    lane::{Lane, NotPrepared},
    layout::{self, Group},
    scratch::{ScratchDir, ScratchError},
};
use crate::{
    data::{DataError, TaskData, chain},
    modules::{ModuleError, ReadyModule, Refusal},
};

/// What a lane's tasks share.
pub(super) struct Prepared {
    pub(super) module: Arc<ReadyModule>,
    pub(super) stdin: Bytes,
    /// Of a foreach stage.
    pub(super) items: Option<Items>,
    /// Directories that all tasks see: where the guest sees each, and where it is.
    pub(super) shared: Vec<(String, PathBuf)>,
    /// Directories that each task has one of.
    pub(super) private: Vec<Group>,
    /// Holds what is shared; removed after the last task.
    _dir: Option<ScratchDir>,
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
    try_prepare(shared, lane).await.map(Arc::new).map_err(|error| match error {
        PrepareError::Module(ModuleError::Refused(Refusal::Invalid { reason })) => {
            NotPrepared::Refused(Outcome::InvalidModule { reason })
        }
        PrepareError::Module(ModuleError::Refused(Refusal::CompileLimit { reason })) => {
            NotPrepared::Refused(Outcome::CompileLimit { reason })
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
    // Only now: whoever waits for a compiler keeps nobody from preparing what is compiled already.
    let _permit = shared.preparing.acquire().await.expect("the semaphore is never closed");
    let stdin = match spec.stdin {
        Stdin::Blob(digest) => data.get(namespace, digest).await?,
        Stdin::Empty | Stdin::Item => Bytes::new(),
    };
    let items = match spec.kind {
        TaskKind::Foreach { manifest } => Some(Items::open(&**data, namespace, manifest).await?),
        TaskKind::Plain | TaskKind::Array => None,
    };
    let groups = layout::groups(&spec.inputs).into_iter();
    let (private, common): (Vec<Group>, Vec<Group>) = groups.partition(|group| group.writable);
    let dir = match common.is_empty() {
        true => None,
        false => Some(shared.scratch.make_dir().await?),
    };
    let mut shared = Vec::new();
    if let Some(dir) = &dir {
        for (number, group) in common.into_iter().enumerate() {
            let path = dir.path().join(number.to_string());
            lay_out(&**data, namespace, &group, &path).await?;
            shared.push((group.guest, path));
        }
    }
    Ok(Prepared { module, stdin, items, shared, private, _dir: dir })
}

/// Makes the directory of a group at `path`, which does not exist yet and whose parent does.
pub(super) async fn lay_out(
    data: &dyn TaskData,
    namespace: &Namespace,
    group: &Group,
    path: &Path,
) -> Result<(), DataError> {
    for input in &group.inputs {
        let place = group.place(path, input);
        if place != path {
            let parent = place.parent().unwrap_or(path).to_owned();
            tokio::fs::create_dir_all(&parent)
                .await
                .map_err(|source| DataError::Disk { path: parent, source })?;
        }
        data.materialize(namespace, input.source, &place).await?;
    }
    Ok(())
}
