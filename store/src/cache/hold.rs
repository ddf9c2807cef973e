//! A blob or tree brought to this machine whole, so that a guest can read all of it.
//!
//! Nothing is copied: what comes of it is an image, whose files are opened one by one as they are
//! needed. That happens in the agent, in `weir-agent`.

mod error;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_proto::{digest::Digest, id::Namespace, job::InputSource};

pub use self::error::HoldError;
use super::{CachedStore, FetchError};
use crate::{
    access::BlobSource as _,
    blobs::{GetError, SMALL_BLOB_BYTES},
    bounds::batches,
    directory::{Trees, read_trees},
    image::{Image, ImageDirectory, ImageFile},
    remote::RemoteError,
    tree::Node,
    view::BlobView,
};

/// A file that a tree names.
struct Claim {
    path: PathBuf,
    digest: Digest,
    size_bytes: u64,
}

impl Claim {
    fn check(&self, actual: u64) -> Result<(), HoldError> {
        let claimed = self.size_bytes;
        if actual != claimed {
            return Err(HoldError::WrongSize { path: self.path.clone(), claimed, actual });
        }
        Ok(())
    }

    fn not_fetched(&self, source: FetchError) -> HoldError {
        HoldError::Fetch { path: self.path.clone(), source }
    }
}

impl CachedStore {
    /// Brings a blob, or a tree with everything beneath, to this machine; returns what it is.
    ///
    /// Trees are checked, sizes are as claimed, and every blob's copy here was read and verified at
    /// least once since this process began; one that is corrupt is fetched again. From then on
    /// `open_view_blocking` opens each file.
    ///
    /// # Errors
    /// `NotATree`, `WrongSize` of a tree, `TooLarge`, `TooManyEntries` and `TooDeep` before any file
    /// is fetched; `Fetch`, `WrongSize` and `LargerThanClaimed` also half way: what came stays here.
    pub async fn hold(
        &self,
        namespace: &Namespace,
        source: InputSource,
        max_bytes: u64,
    ) -> Result<Image, HoldError> {
        match source {
            InputSource::Blob(digest) => self.hold_blob(namespace, digest, max_bytes).await,
            InputSource::Tree(root) => {
                let trees = read_trees(self, namespace, root, Path::new(""), max_bytes).await?;
                self.hold_files(namespace, claims(&trees)).await?;
                Ok(Image::Directory(directory(&trees, trees.root, &mut HashMap::new())))
            }
        }
    }

    /// A view of a blob that is here; waits for the disk, so call it from a thread that may block.
    ///
    /// # Errors
    /// As `BlobStore::open_view_blocking`. One that is corrupt by now is repaired by the next `hold`.
    pub fn open_view_blocking(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<BlobView, FetchError> {
        let opened = self.local.open_view_blocking(namespace, digest);
        if let Err(GetError::Corrupt { .. }) = opened {
            self.verified.forget(digest);
        }
        Ok(opened?)
    }

    async fn hold_blob(
        &self,
        namespace: &Namespace,
        digest: Digest,
        max_bytes: u64,
    ) -> Result<Image, HoldError> {
        match self.ensure(namespace, digest, max_bytes).await {
            Ok(size_bytes) if size_bytes <= max_bytes => {
                Ok(Image::File(ImageFile { digest, size_bytes, executable: false }))
            }
            Ok(_) => Err(HoldError::TooLarge { max_bytes }),
            Err(error) if is_too_large(&error) => Err(HoldError::TooLarge { max_bytes }),
            Err(source) => Err(HoldError::Fetch { path: PathBuf::new(), source }),
        }
    }

    async fn hold_files(&self, namespace: &Namespace, claims: Vec<Claim>) -> Result<(), HoldError> {
        let Some(first) = claims.first() else { return Ok(()) };
        let digests: Vec<Digest> = claims.iter().map(|claim| claim.digest).collect();
        let sizes = self.local.sizes(namespace, &digests).await;
        let sizes = sizes.map_err(|error| first.not_fetched(error.into()))?;
        let mut unsure = Vec::new();
        for (claim, size) in claims.into_iter().zip(sizes) {
            if let Some(actual) = size {
                claim.check(actual)?;
            }
            if size.is_none() || !self.verified.has(claim.digest) {
                unsure.push(claim);
            }
        }
        let (small, large): (Vec<Claim>, Vec<Claim>) =
            unsure.into_iter().partition(|claim| claim.size_bytes <= SMALL_BLOB_BYTES);
        for batch in batches(small, |claim| claim.size_bytes) {
            self.hold_small(namespace, &batch).await?;
        }
        for claim in &large {
            self.hold_one(namespace, claim).await?;
        }
        Ok(())
    }

    async fn hold_small(&self, namespace: &Namespace, batch: &[Claim]) -> Result<(), HoldError> {
        let digests: Vec<Digest> = batch.iter().map(|claim| claim.digest).collect();
        match self.get_batch(namespace, &digests).await {
            Ok(blobs) => {
                for (claim, blob) in batch.iter().zip(blobs) {
                    claim.check(blob.len() as u64)?;
                    self.verified.add(claim.digest);
                }
            }
            Err(error) if is_out_of_reach(&error) => return Err(batch[0].not_fetched(error)),
            // A batch does not tell which blob is missing, or larger than its tree claims.
            Err(_) => {
                for claim in batch {
                    self.hold_one(namespace, claim).await?;
                }
            }
        }
        Ok(())
    }

    async fn hold_one(&self, namespace: &Namespace, claim: &Claim) -> Result<(), HoldError> {
        let claimed = claim.size_bytes;
        match self.ensure(namespace, claim.digest, claimed).await {
            Ok(actual) => claim.check(actual),
            Err(error) if is_too_large(&error) => {
                Err(HoldError::LargerThanClaimed { path: claim.path.clone(), claimed })
            }
            Err(error) => Err(claim.not_fetched(error)),
        }
    }

    /// Brings a blob here if it is not, and verifies its copy if nobody did; returns its size, above
    /// `max_bytes` if a copy was here already.
    async fn ensure(
        &self,
        namespace: &Namespace,
        digest: Digest,
        max_bytes: u64,
    ) -> Result<u64, FetchError> {
        let key = (namespace.clone(), digest, max_bytes);
        let ensure = || async {
            let size_bytes = self.fetch_bounded(namespace, digest, max_bytes).await?;
            if size_bytes > max_bytes || self.verified.has(digest) {
                return Ok(size_bytes);
            }
            match self.local.verify(namespace, digest).await {
                Err(GetError::Corrupt { .. }) => self.bring(namespace, digest, max_bytes).await,
                verified => {
                    let size_bytes = verified?;
                    self.verified.add(digest);
                    Ok(size_bytes)
                }
            }
        };
        self.checks.share(key, ensure).await
    }
}

/// The files that trees name; one that many trees name alike comes once.
fn claims(trees: &Trees) -> Vec<Claim> {
    let (mut claims, mut known) = (Vec::new(), HashSet::new());
    let (mut pending, mut seen) = (vec![(PathBuf::new(), trees.root)], HashSet::from([trees.root]));
    while let Some((path, tree)) = pending.pop() {
        for entry in trees.get(tree).entries() {
            let size_bytes = entry.size_bytes;
            match entry.node {
                Node::Tree(tree) if seen.insert(tree) => {
                    pending.push((path.join(&entry.name), tree));
                }
                Node::Blob { digest, .. } if known.insert((digest, size_bytes)) => {
                    claims.push(Claim { path: path.join(&entry.name), digest, size_bytes });
                }
                Node::Tree(_) | Node::Blob { .. } => {}
            }
        }
    }
    claims
}

/// A tree as a directory; one that is in many places is made once.
fn directory(
    trees: &Trees,
    tree: Digest,
    made: &mut HashMap<Digest, Arc<ImageDirectory>>,
) -> Arc<ImageDirectory> {
    if let Some(made) = made.get(&tree) {
        return Arc::clone(made);
    }
    let mut entries = Vec::with_capacity(trees.get(tree).entries().len());
    for entry in trees.get(tree).entries() {
        let image = match entry.node {
            Node::Tree(tree) => Image::Directory(directory(trees, tree, made)),
            Node::Blob { digest, executable } => {
                Image::File(ImageFile { digest, size_bytes: entry.size_bytes, executable })
            }
        };
        entries.push((entry.name.as_str().into(), image));
    }
    let directory = Arc::new(ImageDirectory::new(entries));
    made.insert(tree, Arc::clone(&directory));
    directory
}

fn is_too_large(error: &FetchError) -> bool {
    matches!(error, FetchError::Remote(error) if matches!(**error, RemoteError::TooLarge { .. }))
}

fn is_out_of_reach(error: &FetchError) -> bool {
    matches!(error, FetchError::Remote(error)
        if matches!(**error, RemoteError::Unreachable { .. } | RemoteError::Silent { .. }))
}
