//! Tasks' data in the cluster's store, with a cache on this machine.

use std::{collections::BTreeMap, error::Error};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource, page::OutTree};
use weir_store::{
    cache::{CachedStore, FetchError, HoldError},
    directory::{Produced, PutTreeError},
    image::Image,
    remote::RemoteError,
    view::BlobView,
};

use crate::data::{DataError, DataFuture, TaskData, chain};

/// Most bytes of one input on this machine's disk.
const MAX_INPUT_BYTES: u64 = 64 << 30;

/// The cluster's store.
pub(crate) struct RemoteData {
    store: CachedStore,
}

impl RemoteData {
    pub(crate) fn new(store: CachedStore) -> RemoteData {
        RemoteData { store }
    }
}

impl TaskData for RemoteData {
    fn get<'a>(&'a self, namespace: &'a Namespace, digest: Digest) -> DataFuture<'a, Bytes> {
        Box::pin(async move {
            self.store.get(namespace, digest).await.map_err(|error| fetch_error(digest, error))
        })
    }

    fn hold<'a>(&'a self, namespace: &'a Namespace, source: InputSource) -> DataFuture<'a, Image> {
        Box::pin(async move {
            match self.store.hold(namespace, source, MAX_INPUT_BYTES).await {
                Ok(image) => Ok(image),
                // Of a tree that lacks something, the tree is what is missing.
                Err(HoldError::Fetch { source: error, .. }) => {
                    Err(fetch_error(source.digest(), error))
                }
                Err(error) => Err(DataError::Unusable { reason: chain(&error) }),
            }
        })
    }

    fn open(&self, namespace: &Namespace, digest: Digest) -> Result<BlobView, DataError> {
        self.store
            .open_view_blocking(namespace, digest)
            // It was held, so whatever is wrong with it now is this machine's fault.
            .map_err(|error| unavailable(&error))
    }

    fn put<'a>(&'a self, namespace: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest> {
        Box::pin(async move {
            self.store.put(namespace, bytes).await.map_err(|error| unavailable(&error))
        })
    }

    fn put_tree<'a>(
        &'a self,
        namespace: &'a Namespace,
        directory: BTreeMap<String, Produced>,
    ) -> DataFuture<'a, OutTree> {
        Box::pin(async move {
            match self.store.put_tree(namespace, directory).await {
                Ok((digest, size_bytes)) => Ok(OutTree { digest, size_bytes }),
                Err(
                    error @ (PutTreeError::TooManyEntries
                    | PutTreeError::TooDeep { .. }
                    | PutTreeError::Tree { .. }),
                ) => Err(DataError::Unusable { reason: chain(&error) }),
                Err(error) => Err(unavailable(&error)),
            }
        })
    }
}

fn fetch_error(digest: Digest, error: FetchError) -> DataError {
    match &error {
        FetchError::Remote(remote) => match &**remote {
            RemoteError::NotFound { .. } => DataError::NotFound(digest),
            _ => unavailable(&error),
        },
        _ => unavailable(&error),
    }
}

fn unavailable(error: &dyn Error) -> DataError {
    DataError::Unavailable { reason: chain(error) }
}
