//! The stream of a backup: what a cluster is, as bytes of a file, while it goes on.
//!
//! The state is read as linearizable reads are; then this master gets what blobs it lacks. Nothing of
//! the store is ever removed, so all that the state names is there however long the stream takes.
//! What cannot be read ends it: a backup is whole, or there is none.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tonic::Status;
use weir_proto::{digest::Digest, id::Namespace, wire};
use weir_scheduler::{snapshot, state::ClusterState};
use weir_store::blobs::GetError;

use prost::Message as _;

use crate::{
    backup::{Encoder, Tag, entry_head},
    blobs::Blobs,
    control::pages_of,
    driver::{Handle, unix_ms},
};

/// Pieces that the client has not taken.
pub(super) const PIECES_QUEUE: usize = 4;
/// Bytes in a piece, or more where a chunk of a blob has more.
const PIECE_BYTES: usize = 256 << 10;
/// Blobs that are looked up at once.
const LIST: usize = 1_000;

type Sender = mpsc::Sender<Result<wire::BackupPiece, Status>>;

/// A backup on its way out.
struct Backup {
    master: Handle,
    blobs: Blobs,
    encoder: Encoder,
    piece: Vec<u8>,
    pieces: Sender,
}

/// Why a stream ends early.
enum Ended {
    /// The client has gone.
    Gone,
    /// The client is told why.
    Failed(Status),
}

/// Sends a backup of this state until the client has all or has gone.
pub(super) async fn send(
    (master, blobs): (Handle, Blobs),
    state: std::sync::Arc<ClusterState>,
    term: u64,
    without_blobs: bool,
    pieces: Sender,
) {
    let (encoder, piece) = Encoder::new();
    let backup = Backup { master, blobs, encoder, piece, pieces: pieces.clone() };
    if let Err(Ended::Failed(status)) = backup.run(state, term, without_blobs).await {
        tracing::error!(why = status.message(), "a backup failed");
        // The client may have gone by now.
        let _gone = pieces.send(Err(status)).await;
    }
}

impl Backup {
    async fn run(
        mut self,
        state: std::sync::Arc<ClusterState>,
        term: u64,
        without_blobs: bool,
    ) -> Result<(), Ended> {
        let about = wire::BackupAbout {
            cluster: state.cluster.map_or(0, |cluster| cluster.0),
            index: state.applied,
            term,
            taken_ms: unix_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            without_blobs,
        };
        self.section(Tag::About, &about.encode_to_vec()).await?;
        let pages = pages_of(&state);
        // Encoding takes as long as a snapshot does: not in the way of others.
        let encoded = tokio::task::spawn_blocking(move || snapshot::encode(&state)).await;
        let encoded = encoded.map_err(|_| failed("the master is stopping"))?;
        self.section(Tag::State, &encoded).await?;
        drop(encoded);
        for (namespace, digest) in &pages {
            self.page(namespace, *digest).await?;
        }
        if !without_blobs {
            self.blobs(&pages.into_iter().collect()).await?;
        }
        let (next, _) = Encoder::new();
        let end = std::mem::replace(&mut self.encoder, next).end();
        self.write(&end).await?;
        self.flush().await
    }

    async fn page(&mut self, namespace: &Namespace, digest: Digest) -> Result<(), Ended> {
        let page = self.master.pages.get(namespace, digest).await;
        let page = page.map_err(|error| unreadable("a page of results", &error))?;
        let head = entry_head(namespace, digest);
        self.section(Tag::Page, &[&head, &page[..]].concat()).await
    }

    /// All blobs of the store but for these pages.
    async fn blobs(&mut self, pages: &BTreeSet<(Namespace, Digest)>) -> Result<(), Ended> {
        self.blobs.gather().await.map_err(Ended::Failed)?;
        let store = self.blobs.here().clone();
        let listing = |error: GetError| unreadable("the list of blobs", &error);
        for namespace in store.namespaces().await.map_err(listing)? {
            let mut after = None;
            loop {
                let listed = store.list(&namespace, after, LIST).await.map_err(listing)?;
                let Some((last, _)) = listed.last() else { break };
                after = Some(*last);
                for (digest, size_bytes) in listed {
                    if !pages.contains(&(namespace.clone(), digest)) {
                        self.blob(&namespace, digest, size_bytes).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn blob(
        &mut self,
        namespace: &Namespace,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<(), Ended> {
        let head = entry_head(namespace, digest);
        let begins = self.encoder.begin(Tag::Blob, head.len() as u64 + size_bytes);
        self.write(&begins).await?;
        self.add(&head).await?;
        let reading = |error: GetError| unreadable("a blob", &error);
        let mut chunks = self.blobs.here().read(namespace, digest).await.map_err(reading)?;
        while let Some(chunk) = chunks.next().await {
            // It ends in an error rather than with other bytes, or another number of them.
            let chunk: Bytes = chunk.map_err(reading)?;
            self.add(&chunk).await?;
        }
        let checksum = self.encoder.end_section();
        self.write(&checksum).await
    }

    async fn section(&mut self, tag: Tag, bytes: &[u8]) -> Result<(), Ended> {
        let begins = self.encoder.begin(tag, bytes.len() as u64);
        self.write(&begins).await?;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.add(piece).await?;
        }
        let checksum = self.encoder.end_section();
        self.write(&checksum).await
    }

    async fn add(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.encoder.add(bytes);
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let data = std::mem::take(&mut self.piece);
        self.pieces.send(Ok(wire::BackupPiece { data })).await.map_err(|_| Ended::Gone)
    }
}

fn unreadable(what: &str, error: &GetError) -> Ended {
    let mut why = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        why = format!("{why}: {source}");
    }
    Ended::Failed(Status::data_loss(format!("{what} cannot be read, so there is no backup: {why}")))
}

fn failed(why: &str) -> Ended {
    Ended::Failed(Status::unavailable(why))
}
