//! Runs the tasks of one slot, one after the other, and makes results of how they ended.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_proto::{
    job::{InputSource, Stdin},
    manifest::{ITEM_DIR, Item},
    outcome::{Outcome, Trap, Usage},
    page::{MAX_INLINE_BYTES, OutTree, Output, StoredBlob, TaskResult},
};
use weir_store::{directory::Produced, image::Image, view::BlobView};

use super::{
    End, Shared,
    lane::{Lane, Turn},
    prepare::Prepared,
    queue::Seat,
};
use crate::{
    data::{DataError, chain},
    filesystem::FileSystemSpec,
    sandbox::{AttemptSpec, Ended, Gauge, SandboxError, bounded},
};

/// A slot that ran short tasks for this long lets others go first: about a quantum of fuel.
const TURN: Duration = Duration::from_micros(100);

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("cannot run the task")]
    Sandbox(#[from] SandboxError),
    #[error("cannot have what the task works on")]
    Input(#[source] DataError),
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
    seat: Seat,
) {
    let mut next = lane.first_turn(slot);
    let mut turn_began = Instant::now();
    while let Some(turn) = next {
        let index = turn.index;
        let end = match caught(run_task(&shared, &lane, &prepared, turn, seat.gauge())).await {
            Ok(Ok(result)) => End::Result(result),
            Ok(Err(error)) => failed(&lane, error.may_have_begun(), chain(&error)),
            Err(panic) => failed(&lane, true, format!("the agent panicked: {panic}")),
        };
        next = lane.finish(&shared.queue, slot, index, end);
        shared.tell();
        if next.is_some() && turn_began.elapsed() >= TURN {
            yield_to_others().await;
            turn_began = Instant::now();
        }
    }
}

impl AttemptError {
    /// Whether the guest may have begun before the world failed us.
    fn may_have_begun(&self) -> bool {
        match self {
            AttemptError::Input(_) => false,
            // A component of several modules may have run a part of itself before there was no room.
            AttemptError::Sandbox(_) | AttemptError::Output(_) | AttemptError::Lost => true,
        }
    }
}

/// The end of a task that the world did not let end by itself. One that may have begun does not go
/// back where it would begin again and must not.
fn failed(lane: &Lane, may_have_begun: bool, reason: String) -> End {
    if !(lane.spec.once && may_have_begun) {
        return End::CannotRun { reason };
    }
    let outcome = unusable("agent_failed", bounded(&reason));
    End::Result(TaskResult::without_output(outcome, Usage::default()))
}

async fn run_task(
    shared: &Shared,
    lane: &Lane,
    prepared: &Prepared,
    turn: Turn,
    gauge: &Arc<Gauge>,
) -> Result<TaskResult, AttemptError> {
    match attempt(shared, lane, prepared, turn, gauge).await {
        Err(AttemptError::Input(error)) => {
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
    gauge: &Arc<Gauge>,
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
    let held = match item.as_ref().and_then(|item| item.source) {
        Some(source) => Some(hold(shared, lane, source).await?),
        None => None,
    };
    let stdin = match (lane.spec.stdin, &item) {
        (Stdin::Item, Some(item)) => stdin_of(prepared, item)?,
        _ => prepared.stdin.clone(),
    };
    let attempt = AttemptSpec {
        stage: &lane.spec,
        index: turn.index,
        key: lane.key.task(turn.index, item.as_ref()),
        stdin,
        item: item.as_ref(),
        files: with_item(&prepared.files, item.as_ref().zip(held)),
        stdout: &turn.stdout,
        stderr: &turn.stderr,
        gauge,
    };
    let Ended { mut outcome, usage, out, offsets, coredump } =
        shared.sandbox.run(&prepared.module, attempt).await?;
    if let Outcome::Trapped(trap) = &mut outcome {
        add_lines(shared, lane, prepared, trap, &offsets).await;
    }
    let mut kept = None;
    if let Some(out) = out {
        match keep_out(shared, lane, out).await {
            Ok(tree) => kept = Some(tree),
            Err(AttemptError::Output(DataError::Unusable { reason })) => {
                outcome = unusable("invalid_output", reason);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(TaskResult {
        outcome,
        usage,
        stdout: keep_output(shared, lane, turn.stdout.take()).await?,
        stderr: keep_output(shared, lane, turn.stderr.take()).await?,
        out: kept,
        coredump: match coredump {
            Some(coredump) => Some(put(shared, lane, coredump).await?),
            None => None,
        },
    })
}

/// Adds to each frame of a trap where in its source it is, if the module tells.
async fn add_lines(
    shared: &Shared,
    lane: &Lane,
    prepared: &Prepared,
    trap: &mut Trap,
    offsets: &[Option<usize>],
) {
    let at: Vec<usize> = offsets.iter().map_while(|offset| *offset).collect();
    if at.is_empty() {
        return;
    }
    let Some(lines) = prepared.lines(shared, lane).await else { return };
    let places = match lines.known(&at) {
        Some(places) => places,
        None => {
            let finding = shared.runtime.spawn_blocking(move || lines.find(&at));
            finding.await.unwrap_or_default()
        }
    };
    for (frame, place) in trap.frames.iter_mut().zip(places) {
        if let Some(place) = place {
            *frame = bounded(&format!("{frame} at {place}"));
        }
    }
}

/// Brings an item to this machine.
async fn hold(shared: &Shared, lane: &Lane, source: InputSource) -> Result<Image, AttemptError> {
    let (data, namespace) = (shared.data.clone(), lane.namespace.clone());
    // On the runtime: workers are for guests.
    let held = shared.runtime.spawn(async move { data.hold(&namespace, source).await });
    let died = |_| DataError::Unavailable { reason: "the thread that asked it died".to_owned() };
    held.await.map_err(died).flatten().map_err(AttemptError::Input)
}

/// A line with its end, or the bytes of a file, which is held.
fn stdin_of(prepared: &Prepared, item: &Item) -> Result<BlobView, AttemptError> {
    match item.source {
        None => Ok(BlobView::from(Bytes::from(format!("{}\n", item.text)))),
        Some(InputSource::Blob(digest)) => {
            prepared.files.inputs.open(digest).map_err(AttemptError::Input)
        }
        Some(InputSource::Tree(_)) => {
            let reason = format!("{:?} is a directory, which stdin cannot be", item.text);
            Err(AttemptError::Input(DataError::Unusable { reason }))
        }
    }
}

/// What a task's file system is made of, with the file of its item.
fn with_item(files: &Arc<FileSystemSpec>, item: Option<(&Item, Image)>) -> Arc<FileSystemSpec> {
    let Some((item, image)) = item else { return files.clone() };
    let dir = ITEM_DIR.trim_start_matches('/').to_owned();
    let own = Some((dir, item.name().to_owned(), image));
    Arc::new(FileSystemSpec { own, ..FileSystemSpec::clone(files) })
}

/// The guest, or whoever made its input, did what no store can hold. Trying again changes nothing.
pub(super) fn unusable(kind: &str, reason: String) -> Outcome {
    Outcome::Trapped(Trap { kind: kind.to_owned(), message: reason, frames: Vec::new() })
}

async fn keep_output(shared: &Shared, lane: &Lane, bytes: Vec<u8>) -> Result<Output, AttemptError> {
    if bytes.len() <= MAX_INLINE_BYTES {
        return Ok(Output::Inline(bytes));
    }
    let StoredBlob { digest, size_bytes } = put(shared, lane, bytes).await?;
    Ok(Output::Blob { digest, size_bytes })
}

async fn put(shared: &Shared, lane: &Lane, bytes: Vec<u8>) -> Result<StoredBlob, AttemptError> {
    let size_bytes = bytes.len() as u64;
    let (data, namespace) = (shared.data.clone(), lane.namespace.clone());
    // On the runtime: workers are for guests, and a store may hash and write on the way.
    let put = shared.runtime.spawn(async move { data.put(&namespace, Bytes::from(bytes)).await });
    let put = put.await.map_err(|_| AttemptError::Lost)?;
    Ok(StoredBlob { digest: put.map_err(AttemptError::Output)?, size_bytes })
}

async fn keep_out(
    shared: &Shared,
    lane: &Lane,
    out: BTreeMap<String, Produced>,
) -> Result<OutTree, AttemptError> {
    let (data, namespace) = (shared.data.clone(), lane.namespace.clone());
    let put = shared.runtime.spawn(async move { data.put_tree(&namespace, out).await });
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
