//! A walk through a host directory: what is there, by digest, before anything is sent.

use std::{
    collections::BTreeMap,
    fs::{self, FileType, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use weir_proto::{digest::Digest, job::InputSource};

use super::{
    MAX_DEPTH, MAX_ENTRIES,
    send::{Place, PlannedFile},
};
use crate::{
    tree::{Node, Tree, TreeEntry, TreeError},
    view::hash_file,
};

/// Everything beneath a host path, by digest.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the path itself becomes.
    pub root: InputSource,
    /// Bytes of all files beneath; one that is there twice counts twice.
    pub size_bytes: u64,
    /// Files, each once.
    pub files: BTreeMap<Digest, PlannedFile>,
    /// Encoded trees, each once.
    pub trees: BTreeMap<Digest, Bytes>,
}

/// Why a host path cannot be put.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A symlink points to nothing.
    #[error("{} is a symlink to {}, which does not exist", path.display(), target.display())]
    Dangling {
        /// The symlink.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A symlink points out of the directory that is put.
    #[error("{} is a symlink to {}, outside of {}; copy it in, or remove it", path.display(), target.display(), root.display())]
    Escapes {
        /// The symlink.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
        /// The directory that is put.
        root: PathBuf,
    },
    /// A symlink points to a directory that it is in.
    #[error("{} is a symlink to {}, which contains it", path.display(), target.display())]
    Loop {
        /// The symlink.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Neither a regular file nor a directory.
    #[error("{} is {kind}; only regular files and directories can be put", path.display())]
    Unsupported {
        /// What was found.
        path: PathBuf,
        /// What it is: `a socket`.
        kind: &'static str,
    },
    /// A name that is not text.
    #[error("the name of {} is not UTF-8; rename it", path.display())]
    NotUtf8 {
        /// What was found.
        path: PathBuf,
    },
    /// More files and directories than the bound.
    #[error("{} has more than {MAX_ENTRIES} files and directories; put parts of it", root.display())]
    TooManyEntries {
        /// The path that is put.
        root: PathBuf,
    },
    /// Deeper than the bound.
    #[error("{} is more than {MAX_DEPTH} directories deep", path.display())]
    TooDeep {
        /// The directory that is too deep.
        path: PathBuf,
    },
    /// A directory that cannot be a tree.
    #[error("{} cannot be a tree", path.display())]
    Tree {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: TreeError,
    },
}

/// Walks a host path and hashes all that is there; blocks.
///
/// # Errors
/// The first thing found that cannot be put.
pub fn plan(path: &Path) -> Result<Plan, PlanError> {
    let root = fs::canonicalize(path).map_err(|source| read_error(path, source))?;
    let mut walk = Walk {
        root: root.clone(),
        open: Vec::new(),
        entries: 0,
        files: BTreeMap::new(),
        trees: BTreeMap::new(),
    };
    let metadata = fs::metadata(&root).map_err(|source| read_error(path, source))?;
    let (node, size_bytes) = walk.node(root, &metadata)?;
    let root = match node {
        Node::Blob { digest, .. } => InputSource::Blob(digest),
        Node::Tree(digest) => InputSource::Tree(digest),
    };
    Ok(Plan { root, size_bytes, files: walk.files, trees: walk.trees })
}

struct Walk {
    root: PathBuf,
    /// The directories that the walk is in, outermost first, without symlinks.
    open: Vec<PathBuf>,
    entries: usize,
    files: BTreeMap<Digest, PlannedFile>,
    trees: BTreeMap<Digest, Bytes>,
}

impl Walk {
    /// A file or directory at a path without symlinks, and its bytes.
    fn node(&mut self, path: PathBuf, metadata: &Metadata) -> Result<(Node, u64), PlanError> {
        if metadata.is_dir() {
            let (digest, size_bytes) = self.directory(path)?;
            return Ok((Node::Tree(digest), size_bytes));
        }
        if !metadata.is_file() {
            return Err(PlanError::Unsupported { kind: kind(metadata.file_type()), path });
        }
        let (digest, size_bytes) = hash_file(&path).map_err(|source| read_error(&path, source))?;
        let place = Place::Host;
        self.files.entry(digest).or_insert(PlannedFile { path, size_bytes, place });
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok((Node::Blob { digest, executable }, size_bytes))
    }

    fn directory(&mut self, path: PathBuf) -> Result<(Digest, u64), PlanError> {
        if self.open.len() == MAX_DEPTH {
            return Err(PlanError::TooDeep { path });
        }
        let mut entries = Vec::new();
        let found = fs::read_dir(&path).map_err(|source| read_error(&path, source))?;
        self.open.push(path.clone());
        for entry in found {
            let entry = entry.map_err(|source| read_error(&path, source))?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(PlanError::TooManyEntries { root: self.root.clone() });
            }
            entries.push(self.entry(&entry)?);
        }
        self.open.pop();
        let tree = Tree::new(entries).map_err(|source| PlanError::Tree { path, source })?;
        let encoded = tree.encode();
        let digest = Digest::of(&encoded);
        self.trees.insert(digest, encoded);
        Ok((digest, tree.size_bytes()))
    }

    fn entry(&mut self, entry: &fs::DirEntry) -> Result<TreeEntry, PlanError> {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(PlanError::NotUtf8 { path });
        };
        let metadata = entry.metadata().map_err(|source| read_error(&path, source))?;
        let (node, size_bytes) = if metadata.is_symlink() {
            let (target, metadata) = self.follow(&path)?;
            self.node(target, &metadata)?
        } else {
            self.node(path, &metadata)?
        };
        Ok(TreeEntry { name, node, size_bytes })
    }

    /// What a symlink leads to, if the walk may go there.
    fn follow(&self, path: &Path) -> Result<(PathBuf, Metadata), PlanError> {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let target = fs::read_link(path).map_err(|source| read_error(path, source))?;
                return Err(PlanError::Dangling { path: path.to_owned(), target });
            }
            Err(source) => return Err(read_error(path, source)),
        };
        if !target.starts_with(&self.root) {
            let (path, root) = (path.to_owned(), self.root.clone());
            return Err(PlanError::Escapes { path, target, root });
        }
        if self.open.contains(&target) {
            return Err(PlanError::Loop { path: path.to_owned(), target });
        }
        let metadata = fs::metadata(&target).map_err(|source| read_error(&target, source))?;
        Ok((target, metadata))
    }
}

fn read_error(path: &Path, source: io::Error) -> PlanError {
    PlanError::Read { path: path.to_owned(), source }
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_socket() {
        "a socket"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_block_device() || file_type.is_char_device() {
        "a device"
    } else {
        "of an unknown kind"
    }
}
