//! Runs the tasks of one slot, one after the other, and makes results of how they ended.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_proto::{
    digest::Digest,
    job::{InputSource, Stdin},
    manifest::Item,
    outcome::{Outcome, Trap, Usage},
    page::{MAX_INLINE_BYTES, OutTree, Output, TaskResult},
};

use super::{
    End, Shared,
    lane::{Lane, Turn},
    prepare::Prepared,
    task_dir::{TaskDir, TaskDirError},
};
use crate::{
    data::{DataError, chain},
    sandbox::{AttemptSpec, Mount, SandboxError},
};

/// A slot that ran short tasks for this long lets others go first: about a quantum of fuel.
const TURN: Duration = Duration::from_micros(100);

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("cannot run the task")]
    Sandbox(#[from] SandboxError),
    #[error("cannot have what the task works on")]
    Input(#[source] DataError),
    #[error(transparent)]
    Dir(#[from] TaskDirError),
    #[error("cannot keep the task's output")]
    Output(#[source] DataError),
    #[error("the thread that kept the task's output died")]
    Lost,
}

/// Runs tasks of a lane until there are none for this slot.
pub(super) async fn run_slot(
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    prepared: Arc<Prepared>,
    slot: usize,
) {
    let mut next = lane.first_turn(slot);
    let mut turn_began = Instant::now();
    while let Some(turn) = next {
        let index = turn.index;
        let end = match caught(run_task(&shared, &lane, &prepared, turn)).await {
            Ok(Ok(result)) => End::Result(result),
            Ok(Err(error)) => End::CannotRun { reason: chain(&error) },
            Err(panic) => End::CannotRun { reason: format!("the agent panicked: {panic}") },
        };
        next = lane.finish(slot, index, end);
        shared.tell();
        if next.is_some() && turn_began.elapsed() >= TURN {
            yield_to_others().await;
            turn_began = Instant::now();
        }
    }
}

async fn run_task(
    shared: &Shared,
    lane: &Lane,
    prepared: &Prepared,
    turn: Turn,
) -> Result<TaskResult, AttemptError> {
    match attempt(shared, lane, prepared, turn).await {
        Err(AttemptError::Input(error) | AttemptError::Dir(TaskDirError::Data(error))) => {
            let outcome = match error {
                DataError::NotFound(digest) => Outcome::MissingInput { digest },
                DataError::Unusable { reason } => unusable("invalid_input", reason),
                error => return Err(AttemptError::Input(error)),
            };
            Ok(TaskResult::without_output(outcome, Usage::default()))
        }
        ended => ended,
    }
}

async fn attempt(
    shared: &Shared,
    lane: &Lane,
    prepared: &Prepared,
    turn: Turn,
) -> Result<TaskResult, AttemptError> {
    let item = match &prepared.items {
        Some(items) => Some(
            items
                .get(&*shared.data, &lane.namespace, turn.index)
                .await
                .map_err(AttemptError::Input)?,
        ),
        None => None,
    };
    let stdin = match (lane.spec.stdin, &item) {
        (Stdin::Item, Some(item)) => stdin_of(shared, lane, item).await?,
        _ => prepared.stdin.clone(),
    };
    let dir = TaskDir::make(shared, lane, prepared, item.as_ref()).await?;
    let out_dir = dir.as_ref().and_then(TaskDir::out);
    let common = prepared.shared.iter();
    let common = common.map(|(guest, host)| Mount { guest, host, writable: false });
    let mounts: Vec<Mount<'_>> = common.chain(dir.iter().flat_map(TaskDir::mounts)).collect();
    let attempt = AttemptSpec {
        stage: &lane.spec,
        index: turn.index,
        key: lane.key.task(turn.index, item.as_ref()),
        stdin,
        item: item.as_ref(),
        mounts: &mounts,
        out_dir: out_dir.as_deref(),
        stdout: &turn.stdout,
        stderr: &turn.stderr,
    };
    let ended = shared.sandbox.run(&prepared.module, attempt).await?;
    let mut outcome = ended.outcome;
    let mut out = None;
    if let Some(dir) = dir.filter(|_| out_dir.is_some() && outcome.succeeded()) {
        match keep_out(shared, lane, dir).await {
            Ok(kept) => out = Some(kept),
            Err(AttemptError::Output(DataError::Unusable { reason })) => {
                outcome = unusable("invalid_output", reason);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(TaskResult {
        outcome,
        usage: ended.usage,
        stdout: keep_output(shared, lane, turn.stdout.take()).await?,
        stderr: keep_output(shared, lane, turn.stderr.take()).await?,
        out,
    })
}

/// A line with its end, or the bytes of a file.
async fn stdin_of(shared: &Shared, lane: &Lane, item: &Item) -> Result<Bytes, AttemptError> {
    match item.source {
        None => Ok(Bytes::from(format!("{}\n", item.text))),
        Some(InputSource::Blob(digest)) => {
            shared.data.get(&lane.namespace, digest).await.map_err(AttemptError::Input)
        }
        Some(InputSource::Tree(_)) => {
            let reason = format!("{:?} is a directory, which stdin cannot be", item.text);
            Err(AttemptError::Input(DataError::Unusable { reason }))
        }
    }
}

/// The guest, or whoever made its input, did what no store can hold. Trying again changes nothing.
pub(super) fn unusable(kind: &str, reason: String) -> Outcome {
    Outcome::Trapped(Trap { kind: kind.to_owned(), message: reason, frames: Vec::new() })
}

async fn keep_output(shared: &Shared, lane: &Lane, bytes: Vec<u8>) -> Result<Output, AttemptError> {
    if bytes.len() <= MAX_INLINE_BYTES {
        return Ok(Output::Inline(bytes));
    }
    let size_bytes = bytes.len() as u64;
    let (data, namespace) = (shared.data.clone(), lane.namespace.clone());
    // On the runtime: workers are for guests, and a store may hash and write on the way.
    let put = shared.runtime.spawn(async move { data.put(&namespace, Bytes::from(bytes)).await });
    let put = put.await.map_err(|_| AttemptError::Lost)?;
    let digest: Digest = put.map_err(AttemptError::Output)?;
    Ok(Output::Blob { digest, size_bytes })
}

async fn keep_out(shared: &Shared, lane: &Lane, dir: TaskDir) -> Result<OutTree, AttemptError> {
    let (data, namespace, spec) = (shared.data.clone(), lane.namespace.clone(), lane.spec.clone());
    let put = shared.runtime.spawn(async move {
        let kept = dir.kept(&spec.keep)?;
        data.put_directory(&namespace, &kept).await
    });
    put.await.map_err(|_| AttemptError::Lost)?.map_err(AttemptError::Output)
}

/// Goes to the back of the run queue.
async fn yield_to_others() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Awaits `future`; a panic in it becomes its message. A guest must never end a worker, nor leave
/// its task without an end.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(message(&*panic))),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
