//! How full the store is, looked up seldom: counting reads the whole index.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use weir_proto::id::Namespace;
use weir_store::blobs::{BlobStore, Stat};

/// How old an answer may be.
const MAX_AGE: Duration = Duration::from_secs(10);
/// How long the first answer is waited for; a page without it is better than none.
const PATIENCE: Duration = Duration::from_millis(100);

/// The newest answer, shared by all who ask.
pub(super) struct StoreStat {
    store: BlobStore,
    /// When it was last asked for; held by whoever asks now, across nothing that waits.
    asked: Mutex<Option<Instant>>,
    newest: Arc<watch::Sender<Option<Stat>>>,
}

impl StoreStat {
    pub(super) fn new(store: BlobStore) -> StoreStat {
        StoreStat { store, asked: Mutex::default(), newest: Arc::new(watch::channel(None).0) }
    }

    /// The newest answer there is; none when the store cannot tell, or not yet.
    pub(super) async fn newest(&self) -> Option<Stat> {
        let mut newest = self.newest.subscribe();
        if self.is_due() {
            let (store, answer) = (self.store.clone(), Arc::clone(&self.newest));
            // Ends by itself: it reads the index once.
            tokio::spawn(async move {
                match store.stat(&Namespace::default_namespace()).await {
                    Ok(stat) => drop(answer.send_replace(Some(stat))),
                    Err(error) => tracing::warn!(%error, "the store does not tell how full it is"),
                }
            });
        }
        if newest.borrow().is_none() {
            // Later is soon enough.
            let _waited = tokio::time::timeout(PATIENCE, newest.changed()).await;
        }
        *newest.borrow()
    }

    /// Whether to ask again. While counting takes longer than `MAX_AGE`, it is not asked twice:
    /// the store's own queue would fill.
    fn is_due(&self) -> bool {
        let mut asked = self.asked.lock().expect("nobody panics while holding it");
        let under_way = Arc::strong_count(&self.newest) > 1;
        let due = !under_way && asked.is_none_or(|asked| asked.elapsed() >= MAX_AGE);
        if due {
            *asked = Some(Instant::now());
        }
        due
    }
}
