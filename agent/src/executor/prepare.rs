//! What the tasks of a lane share, made once: the module, stdin, the manifest of their items, and what
//! their file systems are made of.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;
use weir_proto::{
    id::Namespace,
    job::{InputSource, Keep, StageSpec, Stdin, TaskKind},
    outcome::Outcome,
};
use weir_store::{image::Image, view::BlobView};

use super::{
    Shared,
    attempt::unusable,
    inputs::LaneInputs,
    items::Items,
    lane::{Lane, NotPrepared},
};
use crate::{
    data::{DataError, TaskData, chain},
    filesystem::{FileSystemSpec, Layout, OpenInput},
    lines::SourceLines,
    modules::{ModuleError, ModuleKey, ReadyModule, Refusal},
    profile::CLOCK_ORIGIN_NS,
};

/// What a lane's tasks share.
pub(super) struct Prepared {
    pub(super) module: Arc<ReadyModule>,
    pub(super) stdin: BlobView,
    /// Of a foreach stage.
    pub(super) items: Option<Items>,
    /// What each task's file system is made of, but for the file of its item.
    pub(super) files: Arc<FileSystemSpec>,
    /// Read when a task first traps; nothing where the module has none.
    lines: OnceCell<Option<Arc<SourceLines>>>,
}

impl Prepared {
    /// The module's source lines, if it has them and they can be had now.
    pub(super) async fn lines(&self, shared: &Shared, lane: &Lane) -> Option<Arc<SourceLines>> {
        let read = async || {
            let module = shared.data.get(&lane.namespace, lane.spec.module).await.ok()?;
            // Not on this worker: it may take a second.
            let reading = shared.runtime.spawn_blocking(move || SourceLines::read(&module));
            reading.await.ok().flatten().map(Arc::new)
        };
        self.lines.get_or_init(read).await.clone()
    }
}

#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("cannot have the module")]
    Module(#[from] ModuleError),
    #[error("cannot have an input")]
    Data(#[from] DataError),
}

/// Fetches and compiles what a lane needs.
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
    let module =
        shared.modules.get(ModuleKey::of(spec), || data.get(namespace, spec.module)).await?;
    lane.has_module();
    // Only now: whoever waits for a compiler keeps nobody from preparing what is compiled already.
    let _permit = shared.preparing.acquire().await.expect("the semaphore is never closed");
    let inputs = Arc::new(LaneInputs::new(data.clone(), namespace.clone()));
    let stdin = match spec.stdin {
        Stdin::Blob(digest) => {
            data.hold(namespace, InputSource::Blob(digest)).await?;
            inputs.open(digest)?
        }
        Stdin::Empty | Stdin::Item => BlobView::from(Bytes::new()),
    };
    let items = match spec.kind {
        TaskKind::Foreach { manifest } => Some(Items::open(&**data, namespace, manifest).await?),
        TaskKind::Plain | TaskKind::Array => None,
    };
    let files = Arc::new(FileSystemSpec {
        layout: Arc::new(layout(&**data, namespace, spec).await?),
        own: None,
        inputs,
        spill_dir: shared.scratch_dir.clone(),
        out_bytes: (spec.keep != Keep::Nothing).then_some(spec.limits.output_bytes),
        scratch_bytes: spec.limits.scratch_bytes,
        made_ns: CLOCK_ORIGIN_NS,
    });
    Ok(Prepared { module, stdin, items, files, lines: OnceCell::new() })
}

async fn layout(
    data: &dyn TaskData,
    namespace: &Namespace,
    spec: &StageSpec,
) -> Result<Layout, DataError> {
    let mut held: Vec<(String, Image, bool)> = Vec::with_capacity(spec.inputs.len());
    for input in &spec.inputs {
        let image = data.hold(namespace, input.source).await?;
        held.push((input.path.clone(), image, input.writable));
    }
    Ok(Layout::new(held))
}
