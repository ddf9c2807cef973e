//! All trees beneath one, read and checked before anything is made of them.

use std::{
    collections::{HashMap, hash_map},
    path::{Path, PathBuf},
};

use weir_proto::{digest::Digest, id::Namespace};

use super::{MAX_DEPTH, MAX_ENTRIES};
use crate::{
    access::BlobSource,
    tree::{Node, Tree, TreeError},
};

/// A tree and every tree beneath it, each once.
///
/// Together they have at most `MAX_ENTRIES` and `MAX_DEPTH`, counted as the directories that they
/// unfold into, and what they claim of each other's sizes is so. What they claim of blobs is not
/// checked.
pub(crate) struct Trees {
    pub(crate) root: Digest,
    by_digest: HashMap<Digest, Tree>,
}

impl Trees {
    /// The root, or a tree beneath it.
    pub(crate) fn get(&self, digest: Digest) -> &Tree {
        self.by_digest.get(&digest).expect("every tree that one of them names was read")
    }

    /// Bytes of all files, as the trees claim.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.get(self.root).size_bytes()
    }
}

/// Why a tree cannot be used. Operations that read trees tell it in their own errors.
pub(crate) enum TreesError<E> {
    Source { path: PathBuf, source: E },
    NotATree { path: PathBuf, digest: Digest, source: TreeError },
    WrongSize { path: PathBuf, claimed: u64, actual: u64 },
    TooLarge { max_bytes: u64 },
    TooManyEntries,
    TooDeep,
}

/// A directory whose tree is to be read.
struct Pending {
    path: PathBuf,
    tree: Digest,
    depth: usize,
    claimed_bytes: Option<u64>,
}

/// Reads a tree and all beneath; errors name paths beneath `at`.
pub(crate) async fn read_trees<S: BlobSource>(
    source: &S,
    namespace: &Namespace,
    root: Digest,
    at: &Path,
    max_bytes: u64,
) -> Result<Trees, TreesError<S::Error>> {
    let mut trees = Trees { root, by_digest: HashMap::new() };
    let mut pending =
        vec![Pending { path: at.to_owned(), tree: root, depth: 1, claimed_bytes: None }];
    let mut entries = 0;
    while let Some(Pending { path, tree: digest, depth, claimed_bytes }) = pending.pop() {
        if depth > MAX_DEPTH {
            return Err(TreesError::TooDeep);
        }
        let tree = match trees.by_digest.entry(digest) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(unknown) => {
                unknown.insert(read_tree(source, namespace, digest, &path).await?)
            }
        };
        let actual = tree.size_bytes();
        if let Some(claimed) = claimed_bytes
            && claimed != actual
        {
            return Err(TreesError::WrongSize { path, claimed, actual });
        }
        if actual > max_bytes {
            return Err(TreesError::TooLarge { max_bytes });
        }
        entries += tree.entries().len();
        if entries > MAX_ENTRIES {
            return Err(TreesError::TooManyEntries);
        }
        for entry in tree.entries() {
            if let Node::Tree(tree) = entry.node {
                let (path, claimed_bytes) = (path.join(&entry.name), Some(entry.size_bytes));
                pending.push(Pending { path, tree, depth: depth + 1, claimed_bytes });
            }
        }
    }
    Ok(trees)
}

async fn read_tree<S: BlobSource>(
    source: &S,
    namespace: &Namespace,
    digest: Digest,
    path: &Path,
) -> Result<Tree, TreesError<S::Error>> {
    let bytes = source.get(namespace, digest).await;
    let bytes = bytes.map_err(|source| TreesError::Source { path: path.to_owned(), source })?;
    Tree::decode(&bytes).map_err(|source| {
        let path = path.to_owned();
        TreesError::NotATree { path, digest, source }
    })
}
