//! What a guest leaves in `/out`, as a directory that the store can take: read where it lies, so that
//! nothing is written a second time on the way.

use std::{collections::BTreeMap, io, sync::Arc};

use weir_proto::{job::Keep, outcome::Exceeded};
use weir_store::{
    directory::{MAX_DEPTH, MAX_ENTRIES, Produced},
    view::ReadAt,
};

use super::{
    FileSystem,
    node::{Kind, NodeId},
    resolve::LastLink,
};

/// Why `/out` cannot be kept: what the guest left there is nothing that a store can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputError {
    /// A symbolic link that leads nowhere, or out of `/out`.
    #[error("/out/{path} is a symbolic link to nothing beneath /out")]
    Link {
        /// The link.
        path: String,
    },
    /// A symbolic link to a directory that it is in.
    #[error("/out/{path} is a symbolic link to a directory that contains it")]
    Loop {
        /// The link.
        path: String,
    },
    /// Links make more of it than a store takes.
    #[error("/out has more than {MAX_ENTRIES} files and directories")]
    TooManyEntries,
    /// Deeper than a store takes.
    #[error("/out has directories more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More than the limit, counted as often as names lead there.
    #[error("/out has {used} bytes under all its names, of {limit}", used = .0.used, limit = .0.limit)]
    TooLarge(Exceeded),
    /// A part of a path that is to be kept is a link.
    #[error("/out/{path} is to be kept, and a part of it is a link")]
    KeptLink {
        /// The path.
        path: String,
    },
}

/// A directory as it is to be kept.
type Kept = BTreeMap<String, KeptNode>;

enum KeptNode {
    File(NodeId),
    Directory(Kept),
}

impl FileSystem {
    /// What is to be kept of `/out`; nothing where there is none.
    ///
    /// # Errors
    /// What is there that no store can hold.
    pub(crate) fn into_kept(
        mut self,
        keep: &Keep,
    ) -> Result<Option<BTreeMap<String, Produced>>, OutputError> {
        let Some(out) = self.out_dir else { return Ok(None) };
        let limit = self.out.limit;
        let found = Exceeded { used: 0, limit };
        let mut walk = Walk { fs: &mut self, out, open: Vec::new(), entries: 0, found };
        let kept = match keep {
            Keep::Nothing => return Ok(None),
            Keep::Out => walk.directory(out, "")?,
            Keep::Paths(paths) => {
                let mut kept = Kept::new();
                for path in paths {
                    walk.keep(path, &mut kept)?;
                }
                kept
            }
        };
        Ok(Some(produced(&Arc::new(self), kept)))
    }
}

/// The directories that a walk through `/out` is in, and what it has found.
struct Walk<'a> {
    fs: &'a mut FileSystem,
    out: NodeId,
    open: Vec<NodeId>,
    entries: usize,
    /// Bytes: a file with many names is read as often, and a link costs its maker nothing.
    found: Exceeded,
}

impl Walk<'_> {
    /// Everything in a directory at a path, which is empty or ends with `/`.
    fn directory(&mut self, dir: NodeId, path: &str) -> Result<Kept, OutputError> {
        if self.open.len() == MAX_DEPTH {
            return Err(OutputError::TooDeep);
        }
        self.open.push(dir);
        let entries = self.fs.nodes.directory(dir).map(|directory| directory.entries.keys());
        let names: Vec<String> =
            entries.into_iter().flatten().map(|name| (**name).into()).collect();
        let mut kept = Kept::new();
        for name in names {
            let node = self.node(dir, &name, format!("{path}{name}"))?;
            kept.insert(name, node);
        }
        self.open.pop();
        Ok(kept)
    }

    /// What a name in a directory leads to; a link becomes that too. `path` is the way from `/out`,
    /// which may be longer than any path that can be followed.
    fn node(&mut self, dir: NodeId, name: &str, mut path: String) -> Result<KeptNode, OutputError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(OutputError::TooManyEntries);
        }
        let place = self.fs.resolve_within(self.out, dir, name, LastLink::Follow);
        let Ok(node) = place.and_then(|place| place.found(self.fs)) else {
            return Err(OutputError::Link { path });
        };
        if self.fs.nodes.directory(node).is_none() {
            self.found.used = self.found.used.saturating_add(self.fs.stat(node).size_bytes);
            if self.found.used > self.found.limit {
                return Err(OutputError::TooLarge(self.found));
            }
            return Ok(KeptNode::File(node));
        }
        if self.open.contains(&node) {
            return Err(OutputError::Loop { path });
        }
        path.push('/');
        Ok(KeptNode::Directory(self.directory(node, &path)?))
    }

    /// Keeps what is at a path, if anything is.
    fn keep(&mut self, path: &str, kept: &mut Kept) -> Result<(), OutputError> {
        if !self.is_there(path)? {
            return Ok(());
        }
        let node = self.node(self.out, path, path.to_owned())?;
        let mut names = path.split('/').peekable();
        let mut dir = kept;
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                dir.insert(name.to_owned(), node);
                return Ok(());
            }
            let next = dir.entry(name.to_owned());
            match next.or_insert_with(|| KeptNode::Directory(Kept::new())) {
                KeptNode::Directory(next) => dir = next,
                // Kept already, as a part of what is above it.
                KeptNode::File(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether a path is there, without following a link: the guest chose where it leads.
    fn is_there(&mut self, path: &str) -> Result<bool, OutputError> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let Ok(node) = self.fs.lookup(self.out, &path[..end], false) else { return Ok(false) };
            if self.fs.link_target(node).is_some() {
                return Err(OutputError::KeptLink { path: path.to_owned() });
            }
        }
        Ok(true)
    }
}

/// A file in `/out`.
struct OutFile {
    fs: Arc<FileSystem>,
    node: NodeId,
}

fn produced(fs: &Arc<FileSystem>, kept: Kept) -> BTreeMap<String, Produced> {
    let node = |node| match node {
        KeptNode::Directory(kept) => Produced::Directory(produced(fs, kept)),
        KeptNode::File(node) => {
            let bytes = Arc::new(OutFile { fs: fs.clone(), node });
            Produced::File { bytes, executable: false }
        }
    };
    kept.into_iter().map(|(name, kept)| (name, node(kept))).collect()
}

impl ReadAt for OutFile {
    fn len(&self) -> u64 {
        self.fs.stat(self.node).size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.fs.nodes.get(self.node).kind {
            Kind::File(content) => content.read(&self.fs.pieces, offset, buffer),
            Kind::Input(..) | Kind::Directory(_) | Kind::Link(_) => {
                unreachable!("what is made in /out is no input, and nothing is moved there")
            }
        }
    }
}
