//! The file system that a guest sees: one root, made for one attempt, gone with it.
//!
//! No host path exists in it, so there is nothing to escape to. Inputs are views of blobs, read where
//! they lie; `/out`, `/tmp` and inputs that the task may change are kept in `pieces`, counted against
//! the attempt's limits while they are written. Listings are sorted, and nothing in it depends on the
//! machine or the hour. Operations are in two files by what they need, a node (here) or a path
//! (`names`); descriptors and their positions belong to the two previews, in `sandbox`. Nothing here
//! waits for anything but this machine's disk.

mod content;
mod error;
mod layout;
mod names;
mod node;
mod output;
mod pieces;
mod resolve;

#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, ops::Bound, path::PathBuf, sync::Arc};

use weir_proto::{digest::Digest, outcome::Exceeded};
use weir_store::{image::Image, view::BlobView};

use self::{
    content::{Content, MAX_FILE_BYTES},
    node::{Kind, Nodes},
    pieces::Pieces,
};
pub(crate) use self::{
    error::{Area, FsError, FsResult, Refusal},
    layout::Layout,
    names::OpenOptions,
    node::{NodeId, Times},
    output::OutputError,
};
use crate::data::DataError;

/// Most files, directories and links that a guest can make: each takes some hundred bytes of the
/// agent's memory.
pub(crate) const MAX_MADE_NODES: u32 = 100_000;

/// Opens inputs, which are on this machine already. Blocks for a read of this machine's disk.
pub(crate) trait OpenInput: Send + Sync {
    /// The bytes of a blob.
    fn open(&self, digest: Digest) -> Result<BlobView, DataError>;
}

/// What a file system is made of.
#[derive(Clone)]
pub(crate) struct FileSystemSpec {
    /// The inputs, and where they are.
    pub(crate) layout: Arc<Layout>,
    /// A file or directory of the task's own: a directory of the root, the name in it, what it is.
    pub(crate) own: Option<(String, String, Image)>,
    /// Opens them.
    pub(crate) inputs: Arc<dyn OpenInput>,
    /// Where what does not fit in memory goes.
    pub(crate) spill_dir: PathBuf,
    /// Most bytes of `/out`; there is none where it is absent.
    pub(crate) out_bytes: Option<u64>,
    /// Most bytes of `/tmp` and of inputs that can be changed, together.
    pub(crate) scratch_bytes: u64,
    /// When everything was made, in nanoseconds since 1970.
    pub(crate) made_ns: u64,
}

/// What one attempt sees, and has made.
pub(crate) struct FileSystem {
    nodes: Nodes,
    pieces: Pieces,
    inputs: Arc<dyn OpenInput>,
    root: NodeId,
    out_dir: Option<NodeId>,
    out: Quota,
    scratch: Quota,
    /// How many nodes the guest made that are still there.
    made_nodes: u32,
    /// Steps from one node to the next since they were last taken.
    steps: u64,
    moved: Moved,
}

/// Bytes that went through files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// To the guest.
    pub(crate) read_bytes: u64,
    /// From the guest, what was written over included.
    pub(crate) written_bytes: u64,
}

/// Bytes of an area.
#[derive(Debug)]
struct Quota {
    used: u64,
    limit: u64,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileType {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) inode: u64,
    pub(crate) file_type: FileType,
    pub(crate) size_bytes: u64,
    pub(crate) links: u64,
    pub(crate) times: Times,
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) inode: u64,
    pub(crate) file_type: FileType,
}

/// A time to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewTime {
    /// Leave it.
    Keep,
    /// Nanoseconds since 1970.
    Set(u64),
}

impl FileSystem {
    /// The root directory.
    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    /// How many nodes operations went through since this was last asked: what they cost, for a
    /// short path may lead a long way.
    pub(crate) fn take_steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    /// What was read and written so far.
    pub(crate) fn moved(&self) -> Moved {
        self.moved
    }

    /// Counts one more descriptor of a node.
    pub(crate) fn hold(&mut self, node: NodeId) {
        self.nodes.get_mut(node).opens += 1;
    }

    /// Counts one fewer; a node without a name is gone with its last descriptor.
    pub(crate) fn release(&mut self, node: NodeId) {
        self.nodes.get_mut(node).opens -= 1;
        self.remove_unused(node);
    }

    /// What is known of a node.
    pub(crate) fn stat(&self, id: NodeId) -> Stat {
        let node = self.nodes.get(id);
        let size_bytes = match &node.kind {
            Kind::Input(file, _) => file.size_bytes,
            Kind::File(content) => content.len(),
            Kind::Directory(_) => 0,
            Kind::Link(target) => target.len() as u64,
        };
        let (inode, links) = (id.inode(), u64::from(node.links));
        Stat { inode, file_type: file_type(&node.kind), size_bytes, links, times: node.times }
    }

    /// Whether what is at a node can be changed at all.
    pub(crate) fn is_fixed(&self, id: NodeId) -> bool {
        self.nodes.get(id).area == Area::Fixed
    }

    /// Reads from `offset` on; fewer bytes than there is room for only at the end of the file.
    ///
    /// # Errors
    /// `IsDirectory`, `Invalid` for a link; `Input`, `Disk`.
    pub(crate) fn read(&mut self, id: NodeId, offset: u64, buffer: &mut [u8]) -> FsResult<usize> {
        let read = match &mut self.nodes.get_mut(id).kind {
            Kind::Directory(_) => return Err(Refusal::IsDirectory.into()),
            Kind::Link(_) => return Err(Refusal::Invalid.into()),
            Kind::File(content) => content.read(&self.pieces, offset, buffer),
            Kind::Input(file, opened) => {
                let view = match opened {
                    Some(view) => view,
                    None => opened.insert(open(&*self.inputs, file.digest)?),
                };
                view.read_at(offset, buffer)
            }
        };
        let read = read.map_err(FsError::Disk)?;
        self.moved.read_bytes += read as u64;
        Ok(read)
    }

    /// Writes all of `bytes` at `offset`, which may lie behind the end.
    ///
    /// # Errors
    /// `ReadOnly`, `IsDirectory`, `FileTooLarge`; `OverLimit`, `Input`, `Disk` end the attempt.
    pub(crate) fn write(&mut self, id: NodeId, offset: u64, bytes: &[u8]) -> FsResult<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= MAX_FILE_BYTES);
        let end = end.ok_or(Refusal::FileTooLarge)?;
        let before = self.make_own(id)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let area = self.nodes.get(id).area;
        // What it will take at least; pieces over an input are counted once they are there.
        self.check_room(area, end.saturating_sub(self.stat(id).size_bytes))?;
        let Kind::File(content) = &mut self.nodes.get_mut(id).kind else {
            unreachable!("`make_own` leaves nothing else");
        };
        content.write(&mut self.pieces, offset, bytes).map_err(FsError::Disk)?;
        self.moved.written_bytes += bytes.len() as u64;
        let after = content.charged_bytes();
        self.recharge(area, before, after)
    }

    /// Cuts a file off, or makes it longer by zeros.
    ///
    /// # Errors
    /// As `write`.
    pub(crate) fn set_size(&mut self, id: NodeId, size_bytes: u64) -> FsResult<()> {
        if size_bytes > MAX_FILE_BYTES {
            return Err(Refusal::FileTooLarge.into());
        }
        let before = self.make_own(id)?;
        let area = self.nodes.get(id).area;
        self.check_room(area, size_bytes.saturating_sub(self.stat(id).size_bytes))?;
        let Kind::File(content) = &mut self.nodes.get_mut(id).kind else {
            unreachable!("`make_own` leaves nothing else");
        };
        content.set_len(&mut self.pieces, size_bytes);
        let after = content.charged_bytes();
        self.recharge(area, before, after)
    }

    /// Sets times; they are kept where the node can be changed.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn set_times(
        &mut self,
        id: NodeId,
        accessed: NewTime,
        modified: NewTime,
    ) -> FsResult<()> {
        if self.is_fixed(id) {
            return Err(Refusal::ReadOnly.into());
        }
        let times = &mut self.nodes.get_mut(id).times;
        if let NewTime::Set(ns) = accessed {
            times.accessed_ns = ns;
        }
        if let NewTime::Set(ns) = modified {
            times.modified_ns = ns;
        }
        Ok(())
    }

    /// The entries of a directory behind a name, or all of them, ascending by name, without `.` and
    /// `..`.
    ///
    /// # Errors
    /// `NotDirectory`.
    pub(crate) fn list(
        &mut self,
        id: NodeId,
        after: Option<&str>,
    ) -> FsResult<impl Iterator<Item = Entry<'_>>> {
        if self.nodes.directory(id).is_none() {
            return Err(Refusal::NotDirectory.into());
        }
        self.nodes.number_entries(id);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let directory = self.nodes.directory(id).expect("it was one above");
        let entries = directory.entries.range::<str, _>((from, Bound::Unbounded));
        Ok(entries.map(|(name, id)| Entry {
            name,
            inode: id.inode(),
            file_type: file_type(&self.nodes.get(*id).kind),
        }))
    }

    /// The directory that a directory is in; the root is in itself.
    pub(crate) fn parent(&self, id: NodeId) -> NodeId {
        self.nodes.directory(id).map_or(id, |directory| directory.parent)
    }

    /// Makes an input a file of the guest's own, if it may be changed; returns what is charged for
    /// it so far.
    fn make_own(&mut self, id: NodeId) -> FsResult<u64> {
        let node = self.nodes.get_mut(id);
        let own = match &mut node.kind {
            Kind::Directory(_) => return Err(Refusal::IsDirectory.into()),
            Kind::Link(_) => return Err(Refusal::Invalid.into()),
            _ if node.area == Area::Fixed => return Err(Refusal::ReadOnly.into()),
            Kind::File(content) => return Ok(content.charged_bytes()),
            Kind::Input(file, opened) => match opened.take() {
                Some(view) => Content::over(view),
                None => Content::over(open(&*self.inputs, file.digest)?),
            },
        };
        node.kind = Kind::File(own);
        Ok(0)
    }

    /// # Errors
    /// `OverLimit` when `more` bytes do not fit.
    fn check_room(&self, area: Area, more: u64) -> FsResult<()> {
        let quota = match area {
            Area::Fixed => return Ok(()),
            Area::Out => &self.out,
            Area::Scratch => &self.scratch,
        };
        let used = quota.used.saturating_add(more);
        if used > quota.limit {
            let exceeded = Exceeded { used, limit: quota.limit };
            return Err(FsError::OverLimit { area, exceeded });
        }
        Ok(())
    }

    /// Counts `after` bytes in an area instead of `before`.
    fn recharge(&mut self, area: Area, before: u64, after: u64) -> FsResult<()> {
        match area {
            Area::Fixed => {}
            Area::Out => self.out.used = self.out.used - before + after,
            Area::Scratch => self.scratch.used = self.scratch.used - before + after,
        }
        self.check_room(area, 0)
    }

    /// Counts one more node that the guest makes.
    fn charge_node(&mut self) -> FsResult<()> {
        if self.made_nodes == MAX_MADE_NODES {
            return Err(Refusal::NoSpace.into());
        }
        self.made_nodes += 1;
        Ok(())
    }

    /// Removes a node that nothing leads to any more, and what is in it.
    fn remove_unused(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove_unused(id) else { return };
        // Inputs that were removed count as made: they are few, and it keeps the count above 0.
        self.made_nodes = self.made_nodes.saturating_sub(1);
        let charged = match node.kind {
            Kind::File(mut content) => {
                let charged = content.charged_bytes();
                content.free(&mut self.pieces);
                charged
            }
            Kind::Link(target) => target.len() as u64,
            Kind::Input(..) | Kind::Directory(_) => 0,
        };
        match node.area {
            Area::Fixed => {}
            Area::Out => self.out.used -= charged,
            Area::Scratch => self.scratch.used -= charged,
        }
    }
}

fn open(inputs: &dyn OpenInput, digest: Digest) -> FsResult<BlobView> {
    inputs.open(digest).map_err(|error| FsError::Input(Box::new(error)))
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Input(..) | Kind::File(_) => FileType::File,
        Kind::Directory(_) => FileType::Directory,
        Kind::Link(_) => FileType::Link,
    }
}

impl fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, out, scratch) = (self.nodes.len(), self.out.used, self.scratch.used);
        write!(f, "FileSystem {{ nodes: {nodes}, out: {out}, scratch: {scratch} }}")
    }
}
