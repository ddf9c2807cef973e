//! A backup of the cluster, as the bytes of a file.

use tonic::Streaming;
use weir_proto::wire;

use crate::{
    Client,
    rpc::{self, RpcError},
};

/// A backup that is being taken.
#[derive(Debug)]
pub struct Backup {
    client: Client,
    stream: Streaming<wire::BackupPiece>,
}

impl Client {
    /// Lets the leader take a backup. Without blobs it has jobs, results and names, and not what they
    /// point at.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn backup(&self, with_blobs: bool) -> Result<Backup, RpcError> {
        let asked = wire::BackupRequest { without_blobs: !with_blobs };
        let stream = rpc::retry(|| {
            let mut cluster = self.cluster_rpc();
            async move { cluster.backup(asked).await }
        });
        let stream = stream.await.map_err(|status| self.failed(&status))?;
        Ok(Backup { client: self.clone(), stream })
    }
}

impl Backup {
    /// The next bytes of the file; none after the last. Whether the file is whole is seen by its end.
    ///
    /// # Errors
    /// When the connection breaks, or the master cannot read what belongs to the backup.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RpcError> {
        let piece = self.stream.message().await;
        let piece = piece.map_err(|status| self.client.failed(&status))?;
        Ok(piece.map(|piece| piece.data))
    }
}
