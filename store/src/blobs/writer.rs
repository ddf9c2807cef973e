//! One thread writes the index: puts that wait while it commits share the next commit's fsync.

use std::{io, sync::Arc, thread};

use tokio::sync::{mpsc, oneshot};

use super::{
    error::PutError,
    index::{Entry, Index},
};

/// Most puts that wait at once; more wait at the door, holding their own bytes.
const QUEUE_PUTS: usize = 1024;
/// A group takes no further put beyond this many inline bytes, so that no one waits long for others.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// The handle of the writing thread; dropping it stops the thread and waits for it.
#[derive(Debug)]
pub(super) struct GroupWriter {
    index: Arc<Index>,
    queue: Option<mpsc::Sender<Put>>,
    thread: Option<thread::JoinHandle<()>>,
    /// Puts that were queued so far.
    #[cfg(test)]
    pub(super) queued: std::sync::atomic::AtomicUsize,
}

/// What one caller wants in one transaction.
struct Put {
    entries: Vec<Entry>,
    done: oneshot::Sender<Result<(), Arc<redb::Error>>>,
}

impl GroupWriter {
    pub(super) fn start(index: Arc<Index>) -> io::Result<GroupWriter> {
        let (queue, puts) = mpsc::channel(QUEUE_PUTS);
        let written = Arc::clone(&index);
        let thread = thread::Builder::new()
            .name("weir-store".to_owned())
            .spawn(move || write_groups(&written, puts))?;
        Ok(GroupWriter {
            index,
            queue: Some(queue),
            thread: Some(thread),
            #[cfg(test)]
            queued: Default::default(),
        })
    }

    /// Enters blobs in the index: durable, and all or none, when it returns.
    pub(super) async fn write(&self, entries: Vec<Entry>) -> Result<(), PutError> {
        let queue = self.queue.as_ref().expect("the queue lives until the writer is dropped");
        let (done, written) = oneshot::channel();
        queue.send(Put { entries, done }).await.map_err(|_| PutError::Stopped)?;
        #[cfg(test)]
        self.queued.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let result = written.await.map_err(|_| PutError::Stopped)?;
        result.map_err(|source| PutError::index(self.index.path(), source))
    }
}

impl Drop for GroupWriter {
    /// Waits for at most the transactions already queued, so that the directory can be opened again
    /// as soon as the store is gone.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn write_groups(index: &Index, mut puts: mpsc::Receiver<Put>) {
    while let Some(first) = puts.blocking_recv() {
        let (entries, waiting) = gather(first, &mut puts);
        let result = index.insert(&entries).map_err(Arc::new);
        for done in waiting {
            // Nobody listens when the caller gave up; the blob is stored all the same.
            let _ = done.send(result.clone());
        }
    }
}

type Waiting = Vec<oneshot::Sender<Result<(), Arc<redb::Error>>>>;

/// The first put and whatever else waits by now, within bounds.
fn gather(first: Put, puts: &mut mpsc::Receiver<Put>) -> (Vec<Entry>, Waiting) {
    let inline_bytes =
        |entries: &[Entry]| entries.iter().flat_map(|entry| &entry.inline).map(|b| b.len()).sum();
    let mut group_bytes: usize = inline_bytes(&first.entries);
    let mut entries = first.entries;
    let mut waiting = vec![first.done];
    while group_bytes < MAX_GROUP_BYTES
        && let Ok(next) = puts.try_recv()
    {
        group_bytes += inline_bytes(&next.entries);
        entries.extend(next.entries);
        waiting.push(next.done);
    }
    (entries, waiting)
}
