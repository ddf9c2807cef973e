//! What every test of the sandbox needs: one sandbox for all, a stage, inputs, and a run from text to
//! end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use wasmtime::{Module, component::Component};
use weir_proto::{
    digest::Digest,
    job::{Keep, StageSpec},
    limits::Limits,
    metering::Metering,
    outcome::{Outcome, Usage},
};
use weir_store::{
    directory::Produced,
    image::{Image, ImageFile},
    view::BlobView,
};

use crate::{
    data::DataError,
    filesystem::{FileSystemSpec, Layout, OpenInput},
    modules::{Loaded, ReadyModule},
    profile,
    sandbox::{AttemptSpec, Ended, Gauge, OutputBuffer, Sandbox, SandboxConfig, StageKey},
};

pub(in crate::sandbox) static SANDBOX: LazyLock<Arc<Sandbox>> = LazyLock::new(|| {
    let config = SandboxConfig { max_instances: 20 };
    Arc::new(Sandbox::new(config).expect("a sandbox"))
});

pub(crate) fn stage() -> StageSpec {
    StageSpec {
        limits: Limits { fuel: 100_000_000, timeout_ms: 10_000, ..Limits::default() },
        ..StageSpec::new("main", Digest::of(b"module"))
    }
}

pub(in crate::sandbox) fn with_limits(change: impl FnOnce(&mut Limits)) -> StageSpec {
    let mut stage = stage();
    change(&mut stage.limits);
    stage
}

/// What the compiler makes of a module or component.
pub(in crate::sandbox) fn loaded(text: &str) -> Loaded {
    loaded_for(Metering::Fuel, text)
}

fn loaded_for(metering: Metering, text: &str) -> Loaded {
    let bytes = wat::parse_str(text).expect("text that parses");
    let engine = SANDBOX.runner(metering).expect("a runner").engine();
    match Component::new(engine, &bytes) {
        Ok(component) => Loaded::Component(component),
        Err(_) => Loaded::Module(Module::new(engine, bytes).expect("a valid module")),
    }
}

/// A module or component that can be run.
pub(crate) fn ready(text: &str) -> ReadyModule {
    SANDBOX.by_fuel().connect(&loaded(text)).expect("a module that connects")
}

pub(in crate::sandbox) struct Ran {
    pub(in crate::sandbox) outcome: Outcome,
    pub(in crate::sandbox) usage: Usage,
    pub(in crate::sandbox) stdout: Vec<u8>,
    pub(in crate::sandbox) stderr: Vec<u8>,
    pub(in crate::sandbox) out: BTreeMap<String, Produced>,
}

pub(in crate::sandbox) async fn run(stage: &StageSpec, text: &str) -> Ran {
    run_in(stage, text, 0, &[]).await
}

/// Runs a task that sees files at these absolute paths.
pub(in crate::sandbox) async fn run_in(
    stage: &StageSpec,
    text: &str,
    index: u32,
    inputs: &[(&str, &[u8])],
) -> Ran {
    run_with(stage, &loaded_for(stage.metering, text), index, inputs).await
}

/// Runs a task that has no inputs.
pub(in crate::sandbox) async fn run_loaded(stage: &StageSpec, loaded: &Loaded) -> Ran {
    run_with(stage, loaded, 0, &[]).await
}

async fn run_with(stage: &StageSpec, loaded: &Loaded, index: u32, inputs: &[(&str, &[u8])]) -> Ran {
    let stdout = OutputBuffer::new(stage.limits.output_bytes);
    let stderr = OutputBuffer::new(stage.limits.output_bytes);
    let attempt = AttemptSpec {
        index,
        key: StageKey::new(stage).task(index, None),
        stdin: BlobView::from(Bytes::from_static(b"some input")),
        ..attempt(stage, inputs, &stdout, &stderr)
    };
    let runner = SANDBOX.runner(stage.metering).expect("a runner");
    let ready = runner.connect(loaded).expect("a module that connects");
    let ended = SANDBOX.run(&ready, attempt).await.expect("it runs");
    let Ended { outcome, usage, out, .. } = ended;
    let (stdout, stderr) = (stdout.take(), stderr.take());
    Ran { outcome, usage, stdout, stderr, out: out.unwrap_or_default() }
}

pub(in crate::sandbox) fn attempt<'a>(
    stage: &'a StageSpec,
    inputs: &[(&str, &[u8])],
    stdout: &'a OutputBuffer,
    stderr: &'a OutputBuffer,
) -> AttemptSpec<'a> {
    attempt_with(stage, files(stage, inputs), stdout, stderr)
}

/// An attempt whose files are laid out already.
pub(in crate::sandbox) fn attempt_with<'a>(
    stage: &'a StageSpec,
    files: Arc<FileSystemSpec>,
    stdout: &'a OutputBuffer,
    stderr: &'a OutputBuffer,
) -> AttemptSpec<'a> {
    AttemptSpec {
        stage,
        index: 0,
        key: StageKey::new(stage).task(0, None),
        stdin: BlobView::from(Bytes::new()),
        item: None,
        files,
        stdout,
        stderr,
        gauge: &GAUGE,
    }
}

/// Nobody reads it.
static GAUGE: LazyLock<Arc<Gauge>> = LazyLock::new(Arc::default);

/// The bytes of inputs, by digest.
struct Blobs(HashMap<Digest, Bytes>);

impl OpenInput for Blobs {
    fn open(&self, digest: Digest) -> Result<BlobView, DataError> {
        self.0.get(&digest).cloned().map(BlobView::from).ok_or(DataError::NotFound(digest))
    }
}

pub(crate) fn files(stage: &StageSpec, inputs: &[(&str, &[u8])]) -> Arc<FileSystemSpec> {
    let inputs = inputs.iter().map(|(path, bytes)| (path, Bytes::copy_from_slice(bytes)));
    let (mut blobs, mut images) = (HashMap::new(), Vec::new());
    for (path, bytes) in inputs {
        let digest = Digest::of(&bytes);
        let size_bytes = bytes.len() as u64;
        let file = Image::File(ImageFile { digest, size_bytes, executable: false });
        images.push(((*path).to_owned(), file, false));
        blobs.insert(digest, bytes);
    }
    Arc::new(FileSystemSpec {
        layout: Arc::new(Layout::new(images)),
        own: None,
        inputs: Arc::new(Blobs(blobs)),
        spill_dir: std::env::temp_dir(),
        out_bytes: (stage.keep != Keep::Nothing).then_some(stage.limits.output_bytes),
        scratch_bytes: stage.limits.scratch_bytes,
        made_ns: profile::CLOCK_ORIGIN_NS,
    })
}
