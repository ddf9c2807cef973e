//! Files, directories and symbolic links by number, as inodes of other file systems.
//!
//! A directory of inputs is an `ImageDirectory` that all tasks of a lease share; its entries get
//! numbers here one by one, as the guest meets them. Numbers follow from what the guest does alone,
//! so it may see them.

use std::{collections::BTreeMap, sync::Arc};

use weir_store::{
    image::{Image, ImageDirectory, ImageFile},
    view::BlobView,
};

use super::{content::Content, error::Area};

/// A node's number. It is used again once nothing names the node or has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

/// When a node was accessed and changed, in nanoseconds since 1970: what a guest last set, and the
/// origin of the virtual clock before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed_ns: u64,
    pub(crate) modified_ns: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) area: Area,
    /// Names that lead here.
    pub(super) links: u32,
    /// Descriptors that are open here.
    pub(super) opens: u32,
    pub(super) times: Times,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// An input as it is; its bytes once somebody has read some.
    Input(ImageFile, Option<BlobView>),
    File(Content),
    Directory(Directory),
    Link(Box<str>),
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) parent: NodeId,
    /// Entries that have no number yet, besides those that have one.
    base: Option<Arc<ImageDirectory>>,
    pub(super) entries: BTreeMap<Box<str>, NodeId>,
}

/// All nodes of one attempt.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
    times: Times,
}

impl NodeId {
    /// What a guest sees as the inode's number; 0 means none to some guests.
    pub(crate) fn inode(self) -> u64 {
        u64::from(self.0) + 1
    }
}

impl Nodes {
    /// None; all that are added have these times.
    pub(super) fn new(times: Times) -> Nodes {
        Nodes { nodes: Vec::new(), free: Vec::new(), times }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub(super) fn get(&self, id: NodeId) -> &Node {
        self.nodes[id.0 as usize].as_ref().expect("whoever has the number holds the node")
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0 as usize].as_mut().expect("whoever has the number holds the node")
    }

    /// Adds a node that nothing leads to yet.
    pub(super) fn add(&mut self, area: Area, kind: Kind) -> NodeId {
        let node = Some(Node { kind, area, links: 0, opens: 0, times: self.times });
        match self.free.pop() {
            Some(id) => {
                self.nodes[id.0 as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                NodeId(self.nodes.len() as u32 - 1)
            }
        }
    }

    /// Adds an empty directory, or one with these entries.
    pub(super) fn add_directory(
        &mut self,
        area: Area,
        parent: Option<NodeId>,
        base: Option<Arc<ImageDirectory>>,
    ) -> NodeId {
        let next = self.free.last().copied().unwrap_or(NodeId(self.nodes.len() as u32));
        let directory =
            Directory { parent: parent.unwrap_or(next), base, entries: BTreeMap::new() };
        self.add(area, Kind::Directory(directory))
    }

    pub(super) fn add_image(&mut self, area: Area, parent: NodeId, image: &Image) -> NodeId {
        match image {
            Image::File(file) => self.add(area, Kind::Input(*file, None)),
            Image::Directory(directory) => {
                self.add_directory(area, Some(parent), Some(directory.clone()))
            }
        }
    }

    /// Takes a node out if nothing leads to it and nobody has it open.
    pub(super) fn remove_unused(&mut self, id: NodeId) -> Option<Node> {
        let node = self.get(id);
        if node.links > 0 || node.opens > 0 {
            return None;
        }
        self.free.push(id);
        self.nodes[id.0 as usize].take()
    }

    /// The directory with a number, if it is one.
    pub(super) fn directory(&self, id: NodeId) -> Option<&Directory> {
        match &self.get(id).kind {
            Kind::Directory(directory) => Some(directory),
            Kind::Input(..) | Kind::File(_) | Kind::Link(_) => None,
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> Option<&mut Directory> {
        match &mut self.get_mut(id).kind {
            Kind::Directory(directory) => Some(directory),
            Kind::Input(..) | Kind::File(_) | Kind::Link(_) => None,
        }
    }

    /// The entry with a name, of a directory.
    pub(super) fn entry(&mut self, dir: NodeId, name: &str) -> Option<NodeId> {
        let area = self.get(dir).area;
        let directory = self.directory(dir)?;
        if let Some(id) = directory.entries.get(name) {
            return Some(*id);
        }
        let image = directory.base.as_ref()?.get(name)?.clone();
        let id = self.add_image(area, dir, &image);
        self.link(dir, name, id);
        Some(id)
    }

    /// Gives all entries of a directory a number.
    pub(super) fn number_entries(&mut self, dir: NodeId) {
        let area = self.get(dir).area;
        let base = self.directory_mut(dir).and_then(|directory| directory.base.take());
        for (name, image) in base.iter().flat_map(|base| base.entries()) {
            if self.directory(dir).is_some_and(|directory| !directory.entries.contains_key(name)) {
                let id = self.add_image(area, dir, image);
                self.link(dir, name, id);
            }
        }
    }

    /// Whether a directory has no entries.
    pub(super) fn is_empty(&mut self, dir: NodeId) -> bool {
        self.number_entries(dir);
        self.directory(dir).is_none_or(|directory| directory.entries.is_empty())
    }

    /// Makes a name lead to a node; one that leads elsewhere must be unlinked before.
    pub(super) fn link(&mut self, dir: NodeId, name: &str, id: NodeId) {
        self.get_mut(id).links += 1;
        if let Some(directory) = self.directory_mut(id) {
            directory.parent = dir;
        }
        let directory = self.directory_mut(dir).expect("the caller knows that it is a directory");
        directory.entries.insert(name.into(), id);
    }

    /// Takes a name out of a directory; the node stays until `remove_unused`.
    pub(super) fn unlink(&mut self, dir: NodeId, name: &str) {
        // With a base, the name would come back.
        self.number_entries(dir);
        let directory = self.directory_mut(dir).expect("the caller knows that it is a directory");
        if let Some(id) = directory.entries.remove(name) {
            self.get_mut(id).links -= 1;
        }
    }
}
