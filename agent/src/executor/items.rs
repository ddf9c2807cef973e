//! The items of a foreach stage, fetched a chunk at a time as its tasks are run.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use weir_proto::{
    digest::Digest,
    id::Namespace,
    manifest::{Item, Manifest, decode_chunk},
};

use crate::data::{DataError, TaskData};

/// Most chunks of a lane that are kept in memory; the one fetched longest ago goes first.
const MAX_CHUNKS: usize = 8;

/// A chunk's number, and its items.
type Chunk = (usize, Arc<Vec<Item>>);

/// The items of a lane's stage.
pub(super) struct Items {
    manifest: Manifest,
    chunks: Mutex<VecDeque<Chunk>>,
}

impl Items {
    /// Fetches the manifest.
    pub(super) async fn open(
        data: &dyn TaskData,
        namespace: &Namespace,
        manifest: Digest,
    ) -> Result<Items, DataError> {
        let bytes = data.get(namespace, manifest).await?;
        let manifest = Manifest::decode(&bytes)
            .map_err(|error| DataError::Unusable { reason: error.to_string() })?;
        Ok(Items { manifest, chunks: Mutex::default() })
    }

    /// The item of a task.
    pub(super) async fn get(
        &self,
        data: &dyn TaskData,
        namespace: &Namespace,
        index: u32,
    ) -> Result<Item, DataError> {
        let (number, place) = Manifest::place(index);
        let missing =
            || DataError::Unusable { reason: format!("the manifest has no item for task {index}") };
        let chunk = match self.kept(number) {
            Some(chunk) => chunk,
            None => {
                let digest = *self.manifest.chunks.get(number).ok_or_else(missing)?;
                let bytes = data.get(namespace, digest).await?;
                let items = decode_chunk(&bytes)
                    .map_err(|error| DataError::Unusable { reason: error.to_string() })?;
                self.keep(number, Arc::new(items))
            }
        };
        chunk.get(place).cloned().ok_or_else(missing)
    }

    fn kept(&self, number: usize) -> Option<Arc<Vec<Item>>> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().find(|(its, _)| *its == number).map(|(_, items)| items.clone())
    }

    fn keep(&self, number: usize, items: Arc<Vec<Item>>) -> Arc<Vec<Item>> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if chunks.iter().all(|(its, _)| *its != number) {
            chunks.push_back((number, items.clone()));
            if chunks.len() > MAX_CHUNKS {
                chunks.pop_front();
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::MemoryData;

    #[tokio::test]
    async fn an_item_is_found_in_its_chunk() {
        let items: Vec<Item> =
            (0..20_000).map(|n| Item { text: n.to_string(), source: None }).collect();
        let (manifest, chunks) = Manifest::of(&items);
        let data = MemoryData::new();
        chunks.into_iter().for_each(|chunk| {
            data.insert(chunk);
        });
        let namespace = Namespace::default_namespace();
        let opened = Items::open(&data, &namespace, data.insert(manifest.encode())).await;
        let opened = opened.expect("a manifest");
        for index in [0, 1_023, 1_024, 19_999, 5] {
            let item = opened.get(&data, &namespace, index).await.expect("an item");
            assert_eq!(item.text, index.to_string());
        }
        assert!(opened.chunks.lock().expect("no panic").len() <= MAX_CHUNKS);
        let beyond = opened.get(&data, &namespace, 20_000).await;
        assert!(matches!(beyond, Err(DataError::Unusable { .. })), "{beyond:?}");
    }

    #[tokio::test]
    async fn what_is_no_manifest_is_unusable() {
        let data = MemoryData::new();
        let digest = data.insert(b"garbage".to_vec());
        let opened = Items::open(&data, &Namespace::default_namespace(), digest).await;
        assert!(matches!(opened, Err(DataError::Unusable { .. })));
    }
}
