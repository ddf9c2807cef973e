//! Pages between their commit and the next snapshot: in the log and here, not yet in the store.
//!
//! A snapshot names pages by digest, so before it replaces the log they are put into the store.
//! After a restart the log is applied again, and they stand here again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace};
use weir_store::blobs::{BlobStore, GetError, PutError};

/// Most bytes of pages that one durable step of the store takes.
const BATCH_BYTES: usize = 4 << 20;

/// Pages by name: those that only the log has, then the store's.
#[derive(Clone)]
pub(crate) struct Pages {
    recent: Arc<Mutex<HashMap<Digest, (Namespace, Bytes)>>>,
    store: BlobStore,
}

impl Pages {
    pub(crate) fn new(store: BlobStore) -> Pages {
        Pages { recent: Arc::default(), store }
    }

    /// Where pages go.
    pub(crate) fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Keeps a page that the log holds.
    pub(crate) fn keep(&self, namespace: &Namespace, digest: Digest, bytes: Vec<u8>) {
        self.recent().insert(digest, (namespace.clone(), bytes.into()));
    }

    /// The bytes of a committed page.
    pub(crate) async fn get(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<Bytes, GetError> {
        let recent = self.recent().get(&digest).map(|(_, bytes)| bytes.clone());
        match recent {
            Some(bytes) => Ok(bytes),
            None => self.store.get(namespace, digest).await,
        }
    }

    /// Puts all pages that stand here now into the store; returns their names.
    pub(crate) async fn make_durable(&self) -> Result<Vec<Digest>, PutError> {
        let mut by_namespace: BTreeMap<Namespace, Vec<Bytes>> = BTreeMap::new();
        let mut digests = Vec::new();
        for (digest, (namespace, bytes)) in self.recent().iter() {
            digests.push(*digest);
            by_namespace.entry(namespace.clone()).or_default().push(bytes.clone());
        }
        for (namespace, pages) in by_namespace {
            for batch in batches(pages) {
                self.store.put_batch(&namespace, batch).await?;
            }
        }
        Ok(digests)
    }

    /// These pages are in the store, and a durable snapshot has replaced the log that held them.
    pub(crate) fn forget(&self, digests: &[Digest]) {
        let mut recent = self.recent();
        for digest in digests {
            recent.remove(digest);
        }
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<Digest, (Namespace, Bytes)>> {
        self.recent.lock().expect("nobody panics while holding the pages")
    }
}

fn batches(pages: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut batches: Vec<Vec<Bytes>> = Vec::new();
    let mut size = usize::MAX;
    for page in pages {
        if size.saturating_add(page.len()) > BATCH_BYTES {
            batches.push(Vec::new());
            size = 0;
        }
        size += page.len();
        if let Some(batch) = batches.last_mut() {
            batch.push(page);
        }
    }
    batches
}
