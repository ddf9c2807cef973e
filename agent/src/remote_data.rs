//! Tasks' data in the cluster's store, with a cache on this machine.

use std::{error::Error, path::Path};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource, page::OutTree};
use weir_store::{
    cache::{CachedStore, FetchError, PutDirectoryError},
    directory::{MaterializeError, PlanError, PutPathError},
    remote::RemoteError,
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

    fn materialize<'a>(
        &'a self,
        namespace: &'a Namespace,
        source: InputSource,
        path: &'a Path,
    ) -> DataFuture<'a, ()> {
        Box::pin(async move {
            match self.store.materialize(namespace, source, path, MAX_INPUT_BYTES).await {
                Ok(_bytes) => Ok(()),
                // Of a tree that lacks something, the tree is what is missing.
                Err(MaterializeError::Source { source: error, .. }) => {
                    Err(fetch_error(source.digest(), error))
                }
                Err(
                    error @ (MaterializeError::NotATree { .. }
                    | MaterializeError::WrongSize { .. }
                    | MaterializeError::TooLarge { .. }
                    | MaterializeError::TooManyEntries
                    | MaterializeError::TooDeep),
                ) => Err(DataError::Unusable { reason: chain(&error) }),
                Err(error) => Err(unavailable(&error)),
            }
        })
    }

    fn put<'a>(&'a self, namespace: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest> {
        Box::pin(async move {
            self.store.put(namespace, bytes).await.map_err(|error| unavailable(&error))
        })
    }

    fn put_directory<'a>(
        &'a self,
        namespace: &'a Namespace,
        path: &'a Path,
    ) -> DataFuture<'a, OutTree> {
        Box::pin(async move {
            match self.store.put_directory(namespace, path).await {
                Ok((digest, size_bytes)) => Ok(OutTree { digest, size_bytes }),
                // What cannot be read is the disk's fault; all else is what the guest left.
                Err(PutDirectoryError::Put(PutPathError::Plan(error)))
                    if !matches!(error, PlanError::Read { .. }) =>
                {
                    Err(DataError::Unusable { reason: chain(&error) })
                }
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
