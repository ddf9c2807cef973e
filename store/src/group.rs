//! The stores that keep the same blobs as this one, as the rpc service sees them.
//!
//! What "enough of them" is, and who they are, is told by whoever serves the store: a master.

use std::fmt::Debug;

use tonic::{Status, metadata::MetadataMap};
use weir_proto::{digest::Digest, id::Namespace};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody to whom the whole group is one store.
    Client,
    /// Another store of the group: it means just this one.
    Store,
}

/// The other stores.
#[tonic::async_trait]
pub trait Group: Debug + Send + Sync {
    /// Who calls, by the call's metadata.
    ///
    /// # Errors
    /// A store of another group is refused.
    fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status>;

    /// Waits until enough of the stores have these blobs durably, which this one has.
    ///
    /// # Errors
    /// When too few can be reached.
    async fn spread(&self, namespace: &Namespace, digests: &[Digest]) -> Result<(), Status>;

    /// Brings here what this store lacks of these blobs, or has spoilt, and another one has.
    async fn fetch(&self, namespace: &Namespace, digests: &[Digest]);
}
