//! What a guest does by path: open, make, remove, move.

use super::{
    Area, FileSystem,
    content::Content,
    error::{FsResult, Refusal},
    node::{Kind, NodeId},
    resolve::{LastLink, Place},
};

/// How a path is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpenOptions {
    /// Follow a symbolic link at the path's end.
    pub(crate) follow: bool,
    /// Make a file where nothing is.
    pub(crate) create: bool,
    /// Only make, never open what is there.
    pub(crate) exclusive: bool,
    /// Cut the file off at 0.
    pub(crate) truncate: bool,
    /// Only open a directory.
    pub(crate) directory: bool,
    /// The file will be written to.
    pub(crate) write: bool,
}

impl FileSystem {
    /// What a path leads to.
    ///
    /// # Errors
    /// As every operation here: `NoEntry`, `NotDirectory`, `NotPermitted`, `Loop`, `NameTooLong`,
    /// `Invalid` for the path itself.
    pub(crate) fn lookup(&mut self, from: NodeId, path: &str, follow: bool) -> FsResult<NodeId> {
        self.resolve(from, path, follow.into())?.found(self)
    }

    /// Opens a path, counting a descriptor of what it returns.
    ///
    /// # Errors
    /// `Exists`, `IsDirectory`, `NotDirectory`, `ReadOnly`, `NoSpace`, `Loop` for a link that is
    /// not to be followed, `Invalid` for options that contradict each other.
    pub(crate) fn open(
        &mut self,
        from: NodeId,
        path: &str,
        options: OpenOptions,
    ) -> FsResult<NodeId> {
        let changes = options.create || options.exclusive || options.truncate;
        if options.directory && changes {
            return Err(Refusal::Invalid.into());
        }
        // A link is never written through by who wants to make the file itself.
        let follow = options.follow && !(options.create && options.exclusive);
        let place = self.resolve(from, path, follow.into())?;
        let node = match place.node {
            None if options.create => self.create_file(&place)?,
            None => return Err(Refusal::NoEntry.into()),
            Some(_) if options.create && options.exclusive => return Err(Refusal::Exists.into()),
            Some(node) => {
                self.check_open(node, &place, options)?;
                node
            }
        };
        if options.truncate {
            self.set_size(node, 0)?;
        }
        self.hold(node);
        Ok(node)
    }

    fn check_open(&self, node: NodeId, place: &Place, options: OpenOptions) -> FsResult<()> {
        match &self.nodes.get(node).kind {
            // As Linux has it, whose word libraries look for before they remove a directory's contents.
            Kind::Link(_) if options.directory => Err(Refusal::NotDirectory.into()),
            Kind::Link(_) => Err(Refusal::Loop.into()),
            Kind::Directory(_) if options.create || options.truncate => {
                Err(Refusal::IsDirectory.into())
            }
            // Many a guest asks for all rights where it opens a directory as such.
            Kind::Directory(_) if options.write && !options.directory => {
                Err(Refusal::IsDirectory.into())
            }
            Kind::Directory(_) => Ok(()),
            Kind::File(_) | Kind::Input(..) if options.directory || place.needs_directory => {
                Err(Refusal::NotDirectory.into())
            }
            _ if (options.write || options.truncate) && self.is_fixed(node) => {
                Err(Refusal::ReadOnly.into())
            }
            Kind::File(_) | Kind::Input(..) => Ok(()),
        }
    }

    fn create_file(&mut self, place: &Place) -> FsResult<NodeId> {
        if place.needs_directory {
            return Err(Refusal::IsDirectory.into());
        }
        self.make(place, |fs, area, _| fs.nodes.add(area, Kind::File(Content::default())))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `Exists`, `ReadOnly`, `NoSpace`.
    pub(crate) fn create_directory(&mut self, from: NodeId, path: &str) -> FsResult<()> {
        let place = self.resolve(from, path, LastLink::Name)?;
        self.make(&place, |fs, area, dir| fs.nodes.add_directory(area, Some(dir), None))?;
        Ok(())
    }

    /// Makes a symbolic link that says `target`, which need not exist.
    ///
    /// # Errors
    /// `Exists`, `ReadOnly`, `NoSpace`; `NotPermitted` for an absolute target, which could lead
    /// anywhere; `Invalid`, `NoEntry` for one that no path can be.
    pub(crate) fn symlink(&mut self, target: &str, from: NodeId, path: &str) -> FsResult<()> {
        if target.is_empty() {
            return Err(Refusal::NoEntry.into());
        }
        if target.starts_with('/') {
            return Err(Refusal::NotPermitted.into());
        }
        if target.contains('\0') {
            return Err(Refusal::Invalid.into());
        }
        if target.len() > MAX_LINK_BYTES {
            return Err(Refusal::NameTooLong.into());
        }
        let place = self.resolve(from, path, LastLink::Name)?;
        if place.needs_directory && place.node.is_none() {
            return Err(Refusal::NoEntry.into());
        }
        let link =
            self.make(&place, |fs, area, _| fs.nodes.add(area, Kind::Link(target.into())))?;
        // Its text is kept in memory, so it counts as a file's bytes do.
        self.recharge(self.nodes.get(link).area, 0, target.len() as u64)
    }

    /// What a symbolic link says.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub(crate) fn read_link(&mut self, from: NodeId, path: &str) -> FsResult<&str> {
        let node = self.resolve(from, path, LastLink::Keep)?.found(self)?;
        self.link_target(node).ok_or_else(|| Refusal::Invalid.into())
    }

    /// Gives a file or link a second name.
    ///
    /// # Errors
    /// `Exists`, `ReadOnly`, `NotPermitted` for a directory, `CrossDevice` into another area.
    pub(crate) fn link(
        &mut self,
        old: (NodeId, &str),
        follow: bool,
        new: (NodeId, &str),
    ) -> FsResult<()> {
        let node = self.resolve(old.0, old.1, follow.into())?.found(self)?;
        let place = self.resolve(new.0, new.1, LastLink::Name)?;
        if place.node.is_some() {
            return Err(Refusal::Exists.into());
        }
        if place.needs_directory {
            return Err(Refusal::NoEntry.into());
        }
        if self.nodes.directory(node).is_some() {
            return Err(Refusal::NotPermitted.into());
        }
        let area = self.writable_dir(&place)?;
        if self.nodes.get(node).area != area {
            return Err(Refusal::CrossDevice.into());
        }
        if self.nodes.get(node).links == u32::MAX {
            return Err(Refusal::TooManyLinks.into());
        }
        // A name takes room as a file does.
        self.charge_node()?;
        self.nodes.link(place.dir, place.name(Refusal::Exists)?, node);
        Ok(())
    }

    /// Removes a file or link.
    ///
    /// # Errors
    /// `IsDirectory`, `ReadOnly`.
    pub(crate) fn unlink(&mut self, from: NodeId, path: &str) -> FsResult<()> {
        let place = self.resolve(from, path, LastLink::Name)?;
        let node = place.found(self)?;
        if self.nodes.directory(node).is_some() {
            return Err(Refusal::IsDirectory.into());
        }
        self.writable_dir(&place)?;
        self.remove(&place, node)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotDirectory`, `NotEmpty`, `ReadOnly`; `Busy` for `/out` and other places where the guest's
    /// own areas begin; `Invalid` for `.`.
    pub(crate) fn remove_directory(&mut self, from: NodeId, path: &str) -> FsResult<()> {
        let place = self.resolve(from, path, LastLink::Name)?;
        let node = place.found(self)?;
        if self.nodes.directory(node).is_none() {
            return Err(Refusal::NotDirectory.into());
        }
        place.name(Refusal::Invalid)?;
        self.check_not_area(&place, node)?;
        self.writable_dir(&place)?;
        if !self.nodes.is_empty(node) {
            return Err(Refusal::NotEmpty.into());
        }
        self.remove(&place, node)
    }

    /// Moves what is at one path to another, replacing a file there, or an empty directory by a
    /// directory.
    ///
    /// # Errors
    /// `ReadOnly`, `CrossDevice`, `IsDirectory`, `NotDirectory`, `NotEmpty`, `Busy`; `Invalid` for
    /// a directory that would be moved into itself.
    pub(crate) fn rename(&mut self, old: (NodeId, &str), new: (NodeId, &str)) -> FsResult<()> {
        let from = self.resolve(old.0, old.1, LastLink::Name)?;
        let node = from.found(self)?;
        let to = self.resolve(new.0, new.1, LastLink::Name)?;
        self.check_not_area(&from, node)?;
        if let Some(there) = to.node {
            self.check_not_area(&to, there)?;
        }
        let (area, to_area) = (self.writable_dir(&from)?, self.writable_dir(&to)?);
        if area != to_area {
            return Err(Refusal::CrossDevice.into());
        }
        let old_name = from.name(Refusal::Busy)?;
        let new_name = to.name(Refusal::Busy)?;
        let is_directory = self.nodes.directory(node).is_some();
        if !is_directory && to.needs_directory {
            return Err(Refusal::NotDirectory.into());
        }
        if is_directory && self.is_within(to.dir, node) {
            return Err(Refusal::Invalid.into());
        }
        match to.node {
            Some(there) if there == node => return Ok(()),
            Some(there) => {
                self.check_replaced(there, is_directory)?;
                self.remove(&to, there)?;
            }
            None => {}
        }
        // First the new name: without any, the node would be gone.
        self.nodes.link(to.dir, new_name, node);
        self.nodes.unlink(from.dir, old_name);
        Ok(())
    }

    fn check_replaced(&mut self, there: NodeId, by_directory: bool) -> FsResult<()> {
        match (self.nodes.directory(there).is_some(), by_directory) {
            (false, true) => Err(Refusal::NotDirectory.into()),
            (true, false) => Err(Refusal::IsDirectory.into()),
            (true, true) if !self.nodes.is_empty(there) => Err(Refusal::NotEmpty.into()),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Whether a directory is another one or somewhere beneath it.
    fn is_within(&mut self, mut dir: NodeId, ancestor: NodeId) -> bool {
        loop {
            self.steps += 1;
            if dir == ancestor {
                return true;
            }
            let parent = self.parent(dir);
            if parent == dir {
                return false;
            }
            dir = parent;
        }
    }

    /// Makes a node at a place where nothing is.
    fn make(
        &mut self,
        place: &Place,
        add: impl FnOnce(&mut FileSystem, Area, NodeId) -> NodeId,
    ) -> FsResult<NodeId> {
        if place.node.is_some() {
            return Err(Refusal::Exists.into());
        }
        let area = self.writable_dir(place)?;
        self.charge_node()?;
        let node = add(self, area, place.dir);
        self.nodes.link(place.dir, place.name(Refusal::Exists)?, node);
        Ok(node)
    }

    fn remove(&mut self, place: &Place, node: NodeId) -> FsResult<()> {
        self.nodes.unlink(place.dir, place.name(Refusal::Invalid)?);
        if self.nodes.get(node).links > 0 {
            self.made_nodes = self.made_nodes.saturating_sub(1);
        }
        self.remove_unused(node);
        Ok(())
    }

    /// The area of the directory of a place, where names can be made and removed.
    fn writable_dir(&self, place: &Place) -> FsResult<Area> {
        let dir = self.nodes.get(place.dir);
        match dir.area {
            Area::Fixed => Err(Refusal::ReadOnly.into()),
            // It was removed while somebody had it open.
            Area::Out | Area::Scratch if dir.links == 0 => Err(Refusal::NoEntry.into()),
            area @ (Area::Out | Area::Scratch) => Ok(area),
        }
    }

    /// # Errors
    /// `Busy` where one of the guest's own areas begins.
    fn check_not_area(&self, place: &Place, node: NodeId) -> FsResult<()> {
        if self.nodes.get(node).area != self.nodes.get(place.dir).area {
            return Err(Refusal::Busy.into());
        }
        Ok(())
    }
}

/// Longest text of a symbolic link, in bytes.
const MAX_LINK_BYTES: usize = 4095;
